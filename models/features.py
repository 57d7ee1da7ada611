"""What a frozen network makes of a scene, for teaching it new classes: firing behind its head, and where early neurons fire.

Works for every network whose classifiers are children called `head...`, and on whatever runs it: the network is changed so that
`run` and `step` give logits and rates side by side, which any runner carries through.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from models.neuron import LIF, PLIF, SFA, State
from pipeline.schema.errors import ConfigurationError

Counts = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]

_HEAD = "head"
_NEURONS = (LIF, PLIF, SFA)
# Early neurons are looked at in so many places across and down. What fires where tells more of an unknown gesture than the
# last layer does, which is blind to what its own classes do not need (benchmarks/teach.py).
_GRID = 4
# Of the first layers the last with no more channels than this: 512 numbers, few enough for a small file.
_MOST_CHANNELS = 32
# Windows overlap: so many begin in the time of one.
WINDOWS_KEPT = 4

Run = Callable[..., tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True, slots=True)
class Tap:
    """What a tapped network gives beside its logits: `widths` of its parts, first what each head sees, then the early map."""

    widths: tuple[int, ...]

    @property
    def n_features(self) -> int:
        """Numbers beside the logits, D."""
        return sum(self.widths)

    def features(self, rates: Tensor) -> Vectors:
        """Features float32 (..., D) of `rates` (..., D), means over a window: the root of each, so that few spikes count too.

        Every part is divided by the root of its width, lest the widest be all that is seen.
        """
        roots = rates.sign() * rates.abs().sqrt()  # currents may be negative
        parts = [part / part.shape[-1] ** 0.5 for part in torch.split(roots, list(self.widths), dim=-1)]
        found: Vectors = torch.cat(parts, dim=-1).float().cpu().numpy()
        return found


def tap(network: nn.Module) -> Tap:
    """Let `network` answer (..., K + D) from here on: its K logits, then D rates; says what they are.

    The rates of a bin are mean firing (or mean current) of the last layer's channels, and of an early layer's on a coarse grid.
    ConfigurationError for a network without a head.
    """
    heads = [module for name, module in network.named_children() if name.startswith(_HEAD) and isinstance(module, nn.Linear)]
    if not heads:
        raise ConfigurationError(f"{type(network).__name__} has no head to look behind; it cannot be taught")
    early, n_channels = _early_layer(network)
    seen: dict[int, Tensor] = {}
    for place, head in enumerate(heads):
        head.register_forward_hook(_keep_input(seen, place))
    if early is not None:
        early.register_forward_hook(_keep_map(seen, len(heads)))
    plain: Run = network.run  # type: ignore[assignment]  # every network of the zoo has run

    def run(x: Tensor, state: State | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        logits, after = plain(x, state)
        rates = [seen.pop(place) for place in sorted(seen)]
        return torch.cat([logits, *rates], dim=-1), after  # (T, B, K + D)

    network.run = run  # type: ignore[assignment]  # an attribute of this one network; `step` and `forward` call it
    return Tap((*(head.in_features for head in heads), *([] if early is None else [n_channels * _GRID**2])))


def answers_of(network: nn.Module, counts: Counts) -> Tensor:
    """What a tapped network answers to a clip (n_bins, 2, H, W) from rest: (n_bins, K + D)."""
    with torch.inference_mode():
        answers, _ = network.run(torch.from_numpy(counts).float().unsqueeze(1))  # type: ignore[operator]  # the zoo's
    of_clip: Tensor = answers[:, 0]
    return of_clip


def windows_of(tapped: Tap, answers: Tensor, n_time_bins: int) -> Vectors:
    """Features (n, D) of the windows of a clip, of `answers` (n_bins, K + D), as a running recogniser sees them.

    From half a window on, four a window; a shorter clip is one window.
    """
    bins = answers[:, -tapped.n_features :].double()
    total = torch.cat([bins.new_zeros(1, tapped.n_features), bins.cumsum(dim=0)])
    first = min((n_time_bins + 1) // 2, len(bins))
    ends = torch.arange(first, len(bins) + 1, max(1, n_time_bins // WINDOWS_KEPT))
    starts = (ends - n_time_bins).clamp_min(0)
    return tapped.features((total[ends] - total[starts]) / (ends - starts)[:, None])


def _early_layer(network: nn.Module) -> tuple[nn.Module | None, int]:
    """The layer of neurons whose map is looked at, and its channels; None where the first gives no map as fine as the grid."""
    configuration: Any = network.configuration
    width, height = configuration.size
    shapes: dict[nn.Module, torch.Size] = {}

    def note(layer: nn.Module, _: tuple[Any, ...], spikes: Tensor) -> None:
        shapes.setdefault(layer, spikes.shape)

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if isinstance(layer, _NEURONS)]
    with torch.inference_mode():
        network.run(next(network.parameters()).new_zeros(1, 1, configuration.in_channels, height, width))  # type: ignore[operator]
    for hook in hooks:
        hook.remove()
    chosen: tuple[nn.Module | None, int] = (None, 0)
    for layer, shape in shapes.items():  # in the order in which they fire
        is_map = len(shape) == 5 and min(shape[-2:]) >= _GRID  # (T, B, C, H, W)
        if not is_map or (chosen[0] is not None and shape[2] > _MOST_CHANNELS):
            break
        chosen = layer, shape[2]
    return chosen


def _keep_input(seen: dict[int, Tensor], place: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def keep(_: nn.Module, inputs: tuple[Any, ...], __: Tensor) -> None:
        seen[place] = inputs[0]  # (T, B, C)

    return keep


def _keep_map(seen: dict[int, Tensor], place: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def keep(_: nn.Module, __: tuple[Any, ...], spikes: Tensor) -> None:
        T, B, C = spikes.shape[:3]
        seen[place] = adaptive_avg_pool2d(spikes.flatten(0, 1), _GRID).reshape(T, B, C * _GRID**2)

    return keep
