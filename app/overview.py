"""Names of all commands, where each lives, and the page of `saccade --help`. Imports nothing, so that help is there at once."""

from app.version import VERSION

SUMMARY = "Read an event camera or a recording, and recognise gestures and objects with a spiking transformer, as a stream."

# Group, then: name, import path, one line for help.
GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "See it work",
        (
            ("demo", "app.commands.streams:demo", "Shipped recording through the shipped recogniser."),
            ("replay", "app.commands.streams:replay", "Replay a recording through the recogniser, in a window or headless."),
            ("daemon", "app.commands.streams:daemon", "Headless service that publishes labels."),
            ("listen", "app.commands.streams:listen", "Print the labels of a running Saccade."),
            ("view", "app.commands.streams:view", "Open a window on a running Saccade."),
        ),
    ),
    (
        "Recordings",
        (
            ("record", "app.commands.capturing:record", "Write what a source sends; with --label, clips to learn from."),
            ("info", "app.commands.recordings:info", "Describe recordings."),
            ("convert", "app.commands.editing:convert", "Rewrite a recording in another format."),
            ("cut", "app.commands.editing:cut", "Keep a part of a recording."),
            ("merge", "app.commands.editing:merge", "Join recordings of one sensor."),
            ("frames", "app.commands.recordings:frames", "Bin a recording into spike frames (npz)."),
            ("render", "app.commands.rendering:render", "Make a film or a picture of a recording."),
        ),
    ),
    (
        "Learning",
        (
            ("train", "app.commands.learning:train", "Train a network on recordings, clips or the simulator."),
            ("teach", "app.commands.teaching:teach", "Teach a trained network new classes from a few examples."),
            ("evaluate", "app.commands.learning:evaluate", "Judge a checkpoint on labelled data."),
            ("zoo", "app.commands.learning:zoo", "List the networks."),
            (
                "import-weights",
                "app.commands.importing:import_weights",
                "Make a checkpoint of a network that its authors released.",
            ),
        ),
    ),
    (
        "This machine",
        (
            ("doctor", "app.commands.machine:doctor", "What this machine has, what it lacks, and the line that mends it."),
            ("bench", "app.commands.bench:bench", "Measure this machine: decode, bin, neuron, step, stream."),
        ),
    ),
)

_OPTIONS = (
    ("--config FILE", "TOML file of settings; a flag of the command beats it."),
    ("-v, --verbose / -q, --quiet", "Log more, or errors only, to stderr."),
    ("--log-format text|json", "Logs for people or for machines."),
    ("--version", "Print the version."),
)


def help_page() -> str:
    """The page of `saccade --help`."""
    lines = [f"Saccade {VERSION}", "", SUMMARY, "", "usage: saccade [OPTIONS] COMMAND ...", ""]
    for title, commands in GROUPS:
        lines.append(f"{title}:")
        lines += [f"  {name:<15} {text}" for name, _, text in commands]
        lines.append("")
    lines.append("Options of every command:")
    lines += [f"  {name:<29} {text}" for name, text in _OPTIONS]
    lines += ["", "saccade COMMAND --help has more. Without a camera or a recording: saccade demo"]
    return "\n".join(lines)
