"""Neuron steps as pure functions: the truth that every kernel is measured against.

Leaky integrate-and-fire (spec: SpikingJelly's LIFNode; Spikformer, Zhou 2023, eq. 1-3), for one time bin:

    H = v + (x - v) / tau            with decay_input, v_rest = 0
    H = v - v / tau + x              without
    s = 1 if H >= v_threshold else 0
    v' = (1 - s) H + s v_reset       hard reset
    v' = H - s v_threshold           soft reset (v_reset is None)

The parametric neuron (PLIF; Fang 2021) learns its leak: 1/tau = sigmoid(w), all else alike.

Spike firing approximation (SFA; Spike-driven Transformer V3, Yao 2024, its form for events) fires whole numbers of spikes:

    H = v + x,   s = round(clip(H, 0, D)),   v' = H - s

A count of s stands for s binary spikes in D sub-steps of its bin (`spike_train`): whatever adds spikes up adds the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.surrogate import count, spike


@dataclass(frozen=True, slots=True)
class LIFParameters:
    """Constants of a LIF layer; `tau` in bins.

    `detach_reset`: no gradient through the reset. `detach_membrane`: no gradient from one bin to the next inside the neuron
    (BrainCog's node, used by TIM). `alpha` is the sharpness of the surrogate gradient. `n_levels` is D of the SFA neuron, the
    most spikes it fires in one bin; of the others it looks at detach_reset and detach_membrane alone.
    """

    tau: float = 2.0
    v_threshold: float = 1.0
    v_reset: float | None = 0.0
    decay_input: bool = True
    detach_reset: bool = True
    detach_membrane: bool = False
    surrogate: str = "sigmoid"
    alpha: float = 4.0
    n_levels: int = 4


def lif_step(x: Tensor, v: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """One time bin: input current `x` and membrane `v`, any equal shape, to (spikes, new membrane) of that shape."""
    if parameters.detach_membrane:
        v = v.detach()
    h = v + (x - v) / parameters.tau if parameters.decay_input else v - v / parameters.tau + x
    return _fire(h, parameters)


def plif_step(x: Tensor, v: Tensor, w: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """As `lif_step`, with the leak 1/tau = sigmoid(`w`), `w` a scalar that may require a gradient; `tau` is not looked at."""
    if parameters.detach_membrane:
        v = v.detach()
    leak = torch.sigmoid(w)
    h = v + (x - v) * leak if parameters.decay_input else v - v * leak + x
    return _fire(h, parameters)


def sfa_step(x: Tensor, v: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """One time bin of the SFA neuron: current `x` and membrane `v`, any equal shape, to (counts 0 .. D, new membrane)."""
    h = (v.detach() if parameters.detach_membrane else v) + x
    s = count(h, parameters.n_levels)
    return s, h - (s.detach() if parameters.detach_reset else s)


def _fire(h: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """Spikes and the membrane after the reset, of the potentials `h`."""
    s = spike(h - parameters.v_threshold, parameters.surrogate, parameters.alpha)
    s_reset = s.detach() if parameters.detach_reset else s
    if parameters.v_reset is None:
        return s, h - s_reset * parameters.v_threshold
    kept = (1.0 - s_reset) * h
    return s, kept if parameters.v_reset == 0.0 else kept + s_reset * parameters.v_reset


def lif(x: Tensor, v: Tensor | None, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """T time bins: `x` (T, ...), membrane `v` (...) or None for rest, to (spikes (T, ...), membrane after the last bin)."""
    return _over_bins(x, v, lambda x_t, v_t: lif_step(x_t, v_t, parameters))


def plif(x: Tensor, v: Tensor | None, w: Tensor, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """T time bins of `plif_step`: shapes as in `lif`, `w` a scalar."""
    return _over_bins(x, v, lambda x_t, v_t: plif_step(x_t, v_t, w, parameters))


def sfa(x: Tensor, v: Tensor | None, parameters: LIFParameters) -> tuple[Tensor, Tensor]:
    """T time bins of `sfa_step`: shapes as in `lif`; counts instead of spikes."""
    return _over_bins(x, v, lambda x_t, v_t: sfa_step(x_t, v_t, parameters))


def spike_train(counts: Tensor, n_levels: int) -> Tensor:
    """Spikes (n_levels, ...) of counts 0 .. `n_levels` (...): sub-step k fires where the count is above k."""
    steps = torch.arange(n_levels, device=counts.device).view(-1, *[1] * counts.dim())
    return (counts > steps).to(counts.dtype)


def _over_bins(x: Tensor, v: Tensor | None, step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    membrane = torch.zeros_like(x[0]) if v is None else v
    spikes = []
    for x_t in x:
        s, membrane = step(x_t, membrane)
        spikes.append(s)
    return torch.stack(spikes), membrane
