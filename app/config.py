"""The one configuration tree: read once from a TOML file, unknown keys refused, ranges checked. Below `app` only values travel.

A flag of a command beats the file, the file beats the defaults below.
"""

import dataclasses
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from app.reading import Reading
from pipeline.schema.errors import InputError, UsageError

DEFAULT_PUBLISH_URL = "tcp://127.0.0.1:5556"
Readout = Literal["running", "window"]
Device = Literal["cpu", "cuda"]
LogFormat = Literal["text", "json"]


class SourceSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where events come from. `speed` is a factor or "max"; `start` and `end` are durations after the first event ("1.5s").

    `chip` to `filter` say how the recording is read, as the flags of these names do; `filter` is a list.
    """

    uri: str = ""
    speed: float | str = 1.0
    loop: bool = False
    start: str | None = None
    end: str | None = None
    chip: str | None = None
    stream: int | None = None
    orientation: str | None = None
    source_format: str | None = None
    columns: str | None = None
    topic: str | None = None
    filter: tuple[str, ...] | None = None


class RecogniserSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What recognises: a checkpoint by path or name; how sure (`threshold`) and steady (`hold`, a duration) a label must be.

    `device`: the processor, or an NVIDIA GPU.
    """

    network: str = "default"
    readout: Readout = "running"
    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    hold: str = "30ms"
    device: Device = "cpu"


class PublishSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where labels are published for others; empty for nowhere (the daemon then takes its default)."""

    url: str = ""


class RecordSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where others may record the events over the bus: `to` is the folder below which; empty for nowhere."""

    to: str = ""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole tree: one section for each table of the file."""

    source: SourceSection = SourceSection()
    recogniser: RecogniserSection = RecogniserSection()
    publish: PublishSection = PublishSection()
    record: RecordSection = RecordSection()


class GlobalOptions(msgspec.Struct, frozen=True):
    """What stands before the command: `--config`, `-v`/`-q` (verbosity above or below 0) and `--log-format`."""

    config: str | None = None
    verbosity: int = 0
    log_format: LogFormat = "text"


# Set once by the command line before a command runs, read by the commands.
GLOBAL_OPTIONS: ContextVar[GlobalOptions] = ContextVar("GLOBAL_OPTIONS")


def global_options() -> GlobalOptions:
    """Give what stood before the command; the defaults where a command was called without the command line."""
    return GLOBAL_OPTIONS.get(GlobalOptions())


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings of this file, of `--config` when no path is given, or the defaults when there is neither.

    InputError when the file cannot be read; UsageError with the key and the line when its content is wrong.
    """
    if path is None:
        chosen = global_options().config
        if chosen is None:
            return Settings()
        path = Path(chosen)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(tree, Settings)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"configuration {path} cannot be read: {error}; check the path") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"configuration {path} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        known = "; ".join(f"[{name}] {', '.join(_keys(name))}" for name in Settings.__struct_fields__)
        raise UsageError(f"configuration {path}: {error}; known are {known}") from None


def override(section: msgspec.Struct, **values: object) -> dict[str, object]:
    """Give the fields of a section, replaced by those values that are not None (flags that were given)."""
    fields = msgspec.structs.asdict(section)
    unknown = set(values) - set(fields)
    assert not unknown, f"{type(section).__name__} has no {unknown}"
    return fields | {name: value for name, value in values.items() if value is not None}


def reading_of(section: SourceSection) -> Reading:
    """The part of a source section that says how a recording is read."""
    return Reading(**{field.name: getattr(section, field.name) for field in dataclasses.fields(Reading)})


def _keys(section: str) -> tuple[str, ...]:
    names: tuple[str, ...] = type(getattr(Settings(), section)).__struct_fields__
    return names
