"""The command line as cyclopts sees it. Commands are imported when they are called (house rule 13)."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from app.overview import GROUPS, SUMMARY
from app.version import VERSION

app = App(
    name="saccade",
    version=VERSION,
    default_parameter=Parameter(negative=()),
    help_format="plaintext",  # the default, markdown, costs 80 ms of start-up
    help=SUMMARY,
)

for _title, _commands in GROUPS:
    for _name, _path, _help in _commands:
        app.command(_path, name=_name, help=_help, group=_title)


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
