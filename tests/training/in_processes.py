"""A training in as many processes as the second argument says; each leaves its weights in the folder of the first.

A script, since processes are started by starting it again.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from small_clips import BINNING, SMALL, halves

from models.registry import create_network
from training.augmentation import NONE
from training.loop import Placement, fit
from training.recipes import Recipe


def main(folder: Path, n_processes: int) -> None:
    """Train, and leave the weights and the number of lines told as `RANK.safetensors` and `RANK.txt`."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = create_network("tim", **SMALL, size=(16, 16), n_classes=2)
    lines = list[dict[str, Any]]()
    fit(
        network,
        halves(16, 0),
        BINNING,
        Recipe(epochs=2, batch=8, augmentation=NONE),
        lines.append,
        Placement("cpu", n_processes),
    )
    rank = os.environ.get("LOCAL_RANK", "0")
    save_file(network.state_dict(), folder / f"{rank}.safetensors")
    (folder / f"{rank}.txt").write_text(str(len(lines)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
