"""The errors that Saccade raises on purpose.

SaccadeError                    exit 1   anything below; its text names the offending value and the way out
|-- UsageError                  exit 2   options that cannot be meant together, values out of range
|-- InputError                  exit 3   a recording, checkpoint or data set that cannot be read at all
|   `-- UnknownFormatError      exit 3   content that no reader recognises
|-- PartialInputError           exit 4   something was recovered and delivered, something was lost
|-- CameraError                 exit 5   no camera, or no permission to open it
|-- GpuMissingError             exit 6   a GPU was asked for and there is none
|-- ConfigurationError          exit 7   network and configuration do not fit each other
|-- MissingExtraError           exit 1   an optional package is not installed; the text says how to install it
|-- AddressRefusedError         exit 2   an address that would be reachable from outside without keys
|-- BusError                    exit 1   a socket could not be bound or connected
|-- WireError                   exit 1   a message that is not ours, or damaged (dropped and counted by receivers)
`-- WorkerLostError             exit 1   a process of the pipeline ended before its work was done
"""


class SaccadeError(Exception):
    """Root of all errors that Saccade raises on purpose."""

    exit_code = 1


class UsageError(SaccadeError):
    """Options that cannot be meant together, or a value out of range."""

    exit_code = 2


class InputError(SaccadeError):
    """Input that cannot be read at all: missing, empty, damaged from the start, or not what it claims to be."""

    exit_code = 3


class UnknownFormatError(InputError):
    """Content that no reader recognises."""


class PartialInputError(SaccadeError):
    """Some of the input was recovered and delivered, some was lost; raised after delivery."""

    exit_code = 4


class CameraError(SaccadeError):
    """No camera found, or no permission to open it."""

    exit_code = 5


class GpuMissingError(SaccadeError):
    """A GPU was asked for and there is none."""

    exit_code = 6


class ConfigurationError(SaccadeError):
    """Network and configuration do not fit each other."""

    exit_code = 7


class MissingExtraError(SaccadeError):
    """An optional package is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'saccade[{extra}]'")


class AddressRefusedError(SaccadeError):
    """An address that would be reachable from outside this machine without keys."""

    exit_code = 2


class BusError(SaccadeError):
    """A socket could not be bound or connected."""


class WireError(SaccadeError):
    """A message that is not ours, or damaged; receivers drop and count it."""


class WorkerLostError(SaccadeError):
    """A process of the pipeline ended before its work was done."""
