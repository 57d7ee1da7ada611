"""Coverage-guided damage for `make fuzz`: whatever bytes a recording has, an error of ours or sane events, in bounded memory.

Begins with the small recordings of the tests. Every function of the readers is watched: with NUMBA_DISABLE_JIT=1 the loops too,
which are then plain Python and raise where they would leave an array. Without it they are compiled and cannot be watched; so
`-runs=0` tries the gathered corpus on what users run. What is found lies in the folder of findings, named by libFuzzer.
"""

import contextlib
import importlib
import inspect
import pkgutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import atheris
import numba
import numpy as np

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "pipeline" / "sources")]
small_recordings = importlib.import_module("small_recordings")
read_or_refuse = importlib.import_module("test_hostile_recordings").read_or_refuse
sources = importlib.import_module("pipeline.sources")

_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
# Formats that no content tells: bytes of a record, the ending or option that names the format.
_TOLD: tuple[tuple[int, str, dict[str, str]], ...] = (
    (5, ".bin", {}),
    (6, "", {"format": "aedat1"}),
    (8, "", {"format": "dat"}),
)


def instrument(package: ModuleType) -> None:
    """Watch every function of every reader that is not compiled, wherever it was imported to: its code is changed in place."""
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for item in list(vars(module).values()):
            for function in vars(item).values() if inspect.isclass(item) else (item,):
                plain = getattr(function, "fget", None) or getattr(function, "__func__", function)
                if inspect.isfunction(plain) and plain.__code__.co_filename == module.__file__:
                    atheris.instrument_func(plain)


def replace_instructions() -> None:
    """Give plain Python the two instructions that only a compiler can give."""

    def trailing_zeros(word: np.integer[Any]) -> np.integer[Any]:
        bits = int(word) | 1 << 8 * word.itemsize
        return type(word)((bits & -bits).bit_length() - 1)

    words = importlib.import_module("pipeline.sources.words")
    words._count_bits = lambda word: type(word)(int(word).bit_count())
    words._trailing_zeros = trailing_zeros


def read(data: bytes) -> None:
    """One recording by its content, and again as those formats that it must be told."""
    read_or_refuse(Path(_FOLDER.name) / "damaged", data)
    for n_bytes, ending, options in _TOLD:
        if len(data) % n_bytes == 0:
            read_or_refuse(Path(_FOLDER.name) / f"damaged{ending}", data, **options)


def read_watched(data: bytes) -> None:
    """The same with loops in plain Python; where an integer would turn its sign there, the input waits for compiled loops."""
    with contextlib.suppress(OverflowError), np.errstate(over="ignore"):
        read(data)


def main() -> None:
    """`fuzz_recordings.py FOLDER [options of libFuzzer]`."""
    folder = Path(sys.argv[1])
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    if numba.config.DISABLE_JIT:
        replace_instructions()
    target = read_watched if numba.config.DISABLE_JIT else read
    for name, build in small_recordings.SMALL.items():
        (corpus / name).write_bytes(build().data)
        target(build().data)  # compile before anything is timed
    instrument(sources)
    options = ["-timeout=20", "-rss_limit_mb=1500", "-max_len=16384", f"-artifact_prefix={findings}/", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], str(corpus), *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
