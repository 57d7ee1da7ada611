"""Which state of the project a benchmark measured."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """The commit that is measured, with a mark where the files differ from it."""
    run = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"
