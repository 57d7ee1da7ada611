"""Which state of the project a benchmark measured, and how it leaves its figures."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def commit() -> str:
    """The commit that is measured, with a mark where the files differ from it."""
    run = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def leave(found: dict[str, Any], out: Path | None) -> None:
    """Print the figures as JSON, and write them to `out` where one is given."""
    text = json.dumps(found, indent=1)
    print(text)
    if out is not None:
        out.write_text(text + "\n")
