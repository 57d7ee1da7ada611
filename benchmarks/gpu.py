"""Everything that needs a GPU, in one command: `python benchmarks/gpu.py --out benchmarks/results`.

Runs the tests of the card, and measures the neuron on it beside its own copy rate and beside SpikingJelly. Each part is a
process of its own, so that one that fails leaves the others; all is kept in gpu.json with the card's name and the commit.
Needs torch for CUDA and the extra gpu-cu12 or gpu-cu13.
"""

import argparse
import importlib.metadata
import json
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
# The longest part compiles every form of the kernels.
LIMIT_S = 1200
N_LINES = 15


def parts(folder: Path) -> dict[str, list[str]]:
    """The command of each part."""
    python = sys.executable
    neuron = [python, str(ROOT / "benchmarks" / "neuron.py"), "--device", "cuda", "--currents", str(N_CURRENTS)]
    return {
        "tests": [python, "-m", "pytest", "-m", "gpu", "-q", "--timeout=600"],
        "neuron": [*neuron, "--out", str(folder / "neuron_gpu.json")],
    }


def run_part(command: list[str]) -> dict[str, Any]:
    """How one part ended and what it said last; its result where that was JSON."""
    try:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"ended": f"not within {LIMIT_S} s"}
    lines = (run.stdout + run.stderr).splitlines()
    found: dict[str, Any] = {"ended": run.returncode, "said": lines[-N_LINES:]}
    if run.returncode == 0 and run.stdout.lstrip().startswith("{"):
        found = {"ended": 0, "result": json.loads(run.stdout)}
    return found


def describe_gpu() -> dict[str, Any]:
    """The card and what drives it."""
    if not torch.cuda.is_available():
        raise GpuMissingError("no NVIDIA GPU that torch can use; this measures nothing else")
    properties = torch.cuda.get_device_properties(0)
    versions = {}
    for name in ("torch", "numba", "numba-cuda"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda, "versions": versions}


def main() -> int:
    """Run all parts; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out.resolve()
    try:
        gpu = describe_gpu()
    except GpuMissingError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"gpu": gpu, "commit": commit(), "machine": describe_machine(), "parts": {}}
    for name, command in parts(folder).items():
        print(name, flush=True)
        result["parts"][name] = run_part(command)
        print("\n".join(result["parts"][name].get("said", [])), flush=True)
        (folder / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    return int(any(part["ended"] != 0 for part in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
