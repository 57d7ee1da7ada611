"""A small Spikformer built of SpikingJelly's neurons, its additions counted by SpikingJelly's own counter.

`PYTHON tests/oracles/spikingjelly_counts.py IN.npz OUT.npz`, under the interpreter that `make bench-peers` made. IN holds the
input `x` (T, B, 2, H, W), `pools`, `n_heads`, `scale` and the weights by our names; OUT gets the logits and `sops/LAYER`.
SpikingJelly counts binary inputs alone, so that a residual of 2 is given to it as two planes of spikes.
"""

import sys

import numpy as np
import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from torch.nn import functional

given = dict(np.load(sys.argv[1], allow_pickle=False))
weights = {name.removeprefix("w/"): torch.from_numpy(array) for name, array in given.items() if name.startswith("w/")}
sops: dict[str, int] = {}


def fire(x: torch.Tensor, v_threshold: float = 1.0) -> torch.Tensor:
    """Spikes of currents (T, ...), from rest."""
    return neuron.LIFNode(tau=2.0, v_threshold=v_threshold, step_mode="m")(x)


def counted(name: str, operation, *spikes: torch.Tensor) -> torch.Tensor:
    """Result of `operation`, whose additions are kept under `name`."""
    *others, last = spikes
    for k in range(int(last.max())):
        counter = SynOpCounter()
        with DispatchCounterMode([counter]):
            operation(*others, (last > k).to(last.dtype))
        sops[name] = sops.get(name, 0) + counter.get_total()
    return operation(*spikes)


def normalised(name: str, y: torch.Tensor) -> torch.Tensor:
    """Batch norm in evaluation."""
    parts = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(y, *parts)


def layer(name: str, kind: str, x: torch.Tensor) -> torch.Tensor:
    """Convolution, batch norm, neuron: (T, B, C, ...) to spikes."""
    weight, bias = weights[f"{name}.{kind}.weight"], weights.get(f"{name}.{kind}.bias")
    if kind == "conv":
        y = counted(f"{name}.conv", lambda s: functional.conv2d(s, weight, bias, padding=1), x.flatten(0, 1))
    else:
        y = counted(f"{name}.lin", lambda s: functional.conv1d(s, weight, bias), x.flatten(0, 1))
    return fire(normalised(f"{name}.bn", y).unflatten(0, x.shape[:2]))


def attention(name: str, x: torch.Tensor) -> torch.Tensor:
    """Spiking self-attention, queries and keys first."""
    q, k, v = (layer(f"{name}.{which}", "lin", x).unflatten(2, (int(given["n_heads"]), -1)) for which in "qkv")
    q, k, v = (s.transpose(-1, -2) for s in (q, k, v))  # (T, B, n_heads, N, D)
    attention_map = counted(f"{name}.product", torch.matmul, q, k.transpose(-1, -2))
    assert attention_map.max() > 1, "a binary map would be counted as spikes"
    o = counted(f"{name}.product", torch.matmul, attention_map, v) * float(given["scale"])
    return layer(f"{name}.proj", "lin", fire(o.transpose(-1, -2).flatten(2, 3), 0.5))


def main() -> None:
    """Run the network and keep what was counted."""
    x = torch.from_numpy(given["x"])
    for i, pool in enumerate(str(given["pools"])):
        x = layer(f"stem.stages.{i}", "conv", x)
        if pool == "1":
            x = functional.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
    x = (x + layer("stem.rpe", "conv", x)).flatten(3)
    x = x + attention("blocks.0.attn", x)
    x = x + layer("blocks.0.mlp.fc2", "lin", layer("blocks.0.mlp.fc1", "lin", x))
    logits = functional.linear(x.mean(dim=3), weights["head.weight"], weights["head.bias"]).mean(dim=0)
    np.savez(sys.argv[2], logits=logits.numpy(), **{f"sops/{name}": count for name, count in sops.items()})


if __name__ == "__main__":
    with torch.no_grad():
        main()
