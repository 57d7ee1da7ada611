"""The command line: names of commands and where each lives. Nothing heavy is imported here (house rule 13)."""

from cyclopts import App

from app.version import VERSION

app = App(
    name="saccade",
    version=VERSION,
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
