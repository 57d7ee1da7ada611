"""Coverage-guided damage for `make fuzz`: whatever bytes a recording has, an error of ours or sane events, in bounded memory.

Begins with the small recordings of the tests. Plain Python of the readers is instrumented; compiled loops are not, for numba
could not compile them any more. What is found lies in the folder of findings, named by libFuzzer.
"""

import importlib
import inspect
import pkgutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import atheris

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "pipeline" / "sources")]
small_recordings = importlib.import_module("small_recordings")
read_or_refuse = importlib.import_module("test_hostile_recordings").read_or_refuse
sources = importlib.import_module("pipeline.sources")

_FOLDER = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
_MIN_BIN_BYTES = 5


def instrument(package: ModuleType) -> None:
    """Watch every plain function of every reader; numba's dispatchers are no plain functions."""
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for name, item in list(vars(module).items()):
            if getattr(item, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(item):
                setattr(module, name, atheris.instrument_func(item))
            elif inspect.isclass(item):
                for key, method in list(vars(item).items()):
                    if inspect.isfunction(method):
                        setattr(item, key, atheris.instrument_func(method))


def read(data: bytes) -> None:
    """One recording by its content, and again as the format that only a name tells."""
    read_or_refuse(Path(_FOLDER.name) / "damaged", data)
    if len(data) % _MIN_BIN_BYTES == 0:
        read_or_refuse(Path(_FOLDER.name) / "damaged.bin", data)


def main() -> None:
    """`fuzz_recordings.py FOLDER [options of libFuzzer]`."""
    folder = Path(sys.argv[1])
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for name, build in small_recordings.SMALL.items():
        (corpus / name).write_bytes(build().data)
        read(build().data)  # compile before anything is timed
    instrument(sources)
    options = ["-timeout=20", "-rss_limit_mb=1500", "-max_len=16384", f"-artifact_prefix={findings}/", *sys.argv[2:]]
    atheris.Setup([sys.argv[0], str(corpus), *options], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
