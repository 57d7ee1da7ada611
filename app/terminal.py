"""How commands speak: JSON and tables on stdout, progress and complaints on stderr."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import msgspec


class Progress(Protocol):
    """Moves a bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total`; `note` is said beside the bar."""


def print_json(value: object) -> None:
    """One JSON object on a line of its own."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """A name and a value a line, the values in one column."""
    pairs = list(pairs)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        print(f"{name:<{width}}  {value}")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table for people; columns whose name ends in a star (not printed) are numbers, aligned to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name.removesuffix("*"), justify="right" if name.endswith("*") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row))
    # without a terminal there is no width to fit into: never fold what a program may read
    Console(width=None if sys.stdout.isatty() else 250).print(table, markup=False)


def complain(sentence: object) -> None:
    """One line on stderr."""
    print(f"saccade: {sentence}", file=sys.stderr, flush=True)


def silence_stdout() -> None:
    """Send what is still buffered for a closed stdout nowhere, so that leaving Python does not complain about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on stderr while the block runs, moved by calling what it gives with (done, total); none without a terminal."""
    if not sys.stderr.isatty():
        yield _no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        task = bars.add_task(title, total=None, note="")
        yield lambda done, total, note="": bars.update(task, completed=done, total=total, note=note)


def _no_progress(done: int, total: int, note: str = "") -> None:
    """Nobody watches."""
