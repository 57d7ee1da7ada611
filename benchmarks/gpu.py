"""Everything that needs a GPU, in one command: `python benchmarks/gpu.py --out benchmarks/results`.

Runs the tests of the card; measures the neuron beside the card's own copy rate and beside SpikingJelly, a bin of one stream and
of many beside what launching costs, whether recorded answers are the plain ones, and a step of training beside SpikingJelly's.
Each part is a process of its own, so that one that fails leaves the others; each leaves gpu_PART.json with the card's name and
the commit, and gpu.json says how all ended. Needs torch for CUDA and the extra gpu-cu12 or gpu-cu13.

`--plan` says what would be run. `--rehearse` runs it on the CPU, small, to prove that it runs: nothing that it writes is a
figure of a GPU, and all of it says so.
"""

import argparse
import importlib.metadata
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from provenance import ROOT, commit

from app.bench.timing import describe_machine
from pipeline.schema.errors import GpuMissingError

# Enough that neither the card's cache nor the launch counts.
N_CURRENTS = 1 << 26
N_CURRENTS_REHEARSED = 1 << 12
# The longest part compiles every form of the kernels.
LIMIT_S = 1200
N_LINES = 15
# What the neuron's benchmark leaves, until it is taken into its part.
NEURON_RESULT = "neuron.partial.json"
ENGINE_PARTS = ("step", "streams_256", "streams_512", "agreement_float32", "agreement_bfloat16", "training")


def parts(folder: Path, *, is_rehearsal: bool) -> dict[str, list[str]]:
    """The command of each part."""
    python, scripts = sys.executable, ROOT / "benchmarks"
    tests = [python, "-m", "pytest", "-m", "gpu", "-q", "--timeout=600"]
    neuron = [python, str(scripts / "neuron.py"), "--out", str(folder / NEURON_RESULT)]
    engine = [python, str(scripts / "gpu_parts.py")]
    if is_rehearsal:
        tests += ["--collect-only", str(ROOT / "tests" / "models")]
        neuron += ["--device", "cpu", "--currents", str(N_CURRENTS_REHEARSED), "--repeats", "1"]
    else:
        neuron += ["--device", "cuda", "--currents", str(N_CURRENTS)]
    extra = ["--small"] if is_rehearsal else []
    return {"tests": tests, "neuron": neuron, **{part: [*engine, part, *extra] for part in ENGINE_PARTS}}


def run_part(command: list[str]) -> dict[str, Any]:
    """How one part ended and what it said last; its result where that was JSON."""
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"ended": f"not within {LIMIT_S} s"}
    lines = run.stdout.splitlines()
    if run.returncode == 0 and lines and lines[-1].startswith("{"):
        return {"ended": 0, "result": json.loads(lines[-1])}
    return {"ended": run.returncode, "said": (lines + run.stderr.splitlines())[-N_LINES:]}


def describe_gpu() -> dict[str, Any]:
    """The card and what drives it."""
    if not torch.cuda.is_available():
        raise GpuMissingError("no NVIDIA GPU that torch can use; this measures nothing else (--rehearse runs it without one)")
    properties = torch.cuda.get_device_properties(0)
    versions = {}
    for name in ("torch", "numba", "numba-cuda"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda, "versions": versions}


def run_all(folder: Path, names: list[str], about: dict[str, Any], *, is_rehearsal: bool) -> dict[str, dict[str, Any]]:
    """How each part of `names` ended; every part is written when it is over."""
    folder.mkdir(parents=True, exist_ok=True)
    ended: dict[str, dict[str, Any]] = {}
    for name, command in parts(folder, is_rehearsal=is_rehearsal).items():
        if name not in names:
            continue
        print(name, flush=True)
        ended[name] = run_part(command)
        if (left := folder / NEURON_RESULT).exists():
            ended[name]["result"] = json.loads(left.read_text())
            left.unlink()
        print("\n".join(ended[name].get("said", [json.dumps(ended[name].get("result", ended[name]))])), flush=True)
        (folder / f"gpu_{name}.json").write_text(json.dumps({**about, **ended[name]}, indent=1) + "\n")
        summary = {part: row["ended"] for part, row in ended.items()}
        (folder / "gpu.json").write_text(json.dumps({**about, "ended": summary}, indent=1) + "\n")
    return ended


def main() -> int:
    """Run all parts, or say what they are; 1 where one failed."""
    names = list(parts(Path(), is_rehearsal=False))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="PART")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    if arguments.plan:
        planned = parts(arguments.out or Path("OUT"), is_rehearsal=arguments.rehearse)
        print("\n".join(f"{name}: {shlex.join(planned[name])}" for name in arguments.only))
        return 0
    if arguments.out is None:
        parser.error("--out FOLDER says where the results go")
    about: dict[str, Any] = {"commit": commit(), "machine": describe_machine(), "rehearsal": arguments.rehearse}
    try:
        about["device"] = "cpu; this says nothing of a GPU" if arguments.rehearse else describe_gpu()
    except GpuMissingError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    ended = run_all(arguments.out.resolve(), arguments.only, about, is_rehearsal=arguments.rehearse)
    return int(any(part["ended"] != 0 for part in ended.values()))


if __name__ == "__main__":
    sys.exit(main())
