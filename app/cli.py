"""The command line: names of commands and where each lives. Nothing heavy is imported here (house rule 13)."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from app.version import VERSION

app = App(
    name="saccade",
    version=VERSION,
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # the default, markdown, costs 80 ms of start-up
    help="Read an event camera or a recording, and recognise gestures and objects with a spiking transformer, as a stream.",
)

_COMMANDS = (
    # name, import path, one line for --help
    ("demo", "app.commands.streams:demo", "Shipped recording through the shipped recogniser."),
    ("replay", "app.commands.streams:replay", "Replay a recording through the recogniser, in a window or headless."),
    ("daemon", "app.commands.streams:daemon", "Headless service that publishes labels."),
    ("listen", "app.commands.streams:listen", "Print the labels of a running Saccade."),
    ("view", "app.commands.streams:view", "Open a window on a running Saccade."),
    ("info", "app.commands.recordings:info", "Describe recordings."),
    ("convert", "app.commands.recordings:convert", "Rewrite a recording in another format."),
    ("frames", "app.commands.recordings:frames", "Bin a recording into spike frames (npz)."),
    ("train", "app.commands.learning:train", "Train a network on recordings, clips or the simulator."),
    ("evaluate", "app.commands.learning:evaluate", "Judge a checkpoint on labelled data."),
    ("zoo", "app.commands.learning:zoo", "List the networks."),
    ("doctor", "app.commands.machine:doctor", "What this machine has, what it lacks, and the line that mends it."),
)

for _name, _path, _help in _COMMANDS:
    app.command(_path, name=_name, help=_help)


@app.meta.default
def run(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[str | None, Parameter(name="--config")] = None,
    verbose: Annotated[int, Parameter(name=["--verbose", "-v"], count=True)] = 0,
    quiet: Annotated[int, Parameter(name=["--quiet", "-q"], count=True)] = 0,
    log_format: Annotated[Literal["text", "json"], Parameter(name="--log-format")] = "text",
) -> int:
    """Run one command under the options that all commands share.

    Parameters
    ----------
    tokens
        The command and its own words.
    config
        TOML file of settings; a flag of the command beats it.
    verbose
        Log more, to stderr.
    quiet
        Log errors only.
    log_format
        Logs as text for people or as JSON lines.
    """
    if tokens and not tokens[0].startswith("-"):
        from app.config import GLOBAL_OPTIONS, GlobalOptions
        from app.logging import set_up_logging

        options = GlobalOptions(config=config, verbosity=verbose - quiet, log_format=log_format)
        GLOBAL_OPTIONS.set(options)
        set_up_logging(options)
    result = app(tokens, result_action="return_value")
    return result if isinstance(result, int) else 0
