"""What a frozen network makes of a scene, for teaching it new classes: what its head sees, beside its logits.

Works for every network whose classifiers are children called `head...`, and on whatever runs it: the network is changed so that
`run` and `step` give logits and features side by side, which any runner carries through.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.neuron import State
from pipeline.schema.errors import ConfigurationError

_HEAD = "head"

Run = Callable[..., tuple[Tensor, dict[str, Tensor]]]


def tap(network: nn.Module) -> int:
    """Let `network` answer (..., K + D) from here on: its K logits, then the D numbers its heads see; gives D.

    The features of a bin are mean firing (or mean current) of the last layer's channels. ConfigurationError for a network
    without a head.
    """
    heads = [module for name, module in network.named_children() if name.startswith(_HEAD) and isinstance(module, nn.Linear)]
    if not heads:
        raise ConfigurationError(f"{type(network).__name__} has no head to look behind; it cannot be taught")
    seen: dict[int, Tensor] = {}

    def watch(place: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def keep(_: nn.Module, inputs: tuple[Any, ...], __: Tensor) -> None:
            seen[place] = inputs[0]

        return keep

    for place, head in enumerate(heads):
        head.register_forward_hook(watch(place))
    plain: Run = network.run  # type: ignore[assignment]  # every network of the zoo has run

    def run(x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        logits, after = plain(x, state)
        features = [seen.pop(place) for place in range(len(heads))]
        return torch.cat([logits, *features], dim=-1), after  # (T, B, K + D)

    network.run = run  # type: ignore[assignment]  # an attribute of this one network; `step` and `forward` call it
    return sum(head.in_features for head in heads)
