"""TIM (Shen et al., IJCAI 2024): temporal interaction in spiking self-attention, on top of Spikformer.

    Q'[t] = a f(Q'[t-1]) + (1 - a) Q[t],   f a 1-D convolution,   A[t] = Q'[t] K[t]^T V[t]

The released form fires twice: u = LIF_in(f(Q'[t-1])), Q'[t] = LIF_out(a u + (1 - a) Q[t]), with Q'[0] = Q[0]. Both neurons
begin at the second bin. The convolution's channels are the N tokens, its length the D channels of a head.
"""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from models.functional import LIFParameters
from models.neuron import LIF, Memory
from models.zoo.spikformer import Spikformer, SpikformerConfiguration
from pipeline.schema.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class TIMConfiguration(SpikformerConfiguration):
    """Spikformer + TIM. Thresholds are those written in the released constructor calls.

    The released code loses them (a swallowed keyword makes all 1.0, and then Q' is zero after the first bin);
    `released()` gives that network for comparison. `mixing` is the paper's alpha, the share of history.
    `detach_history` keeps gradients from going back through Q'[t-1], where they grow from bin to bin; forward is the same.
    """

    projection_bias: bool = False
    mixing: float = 0.5
    tim_in_threshold: float = 0.3
    tim_out_threshold: float = 0.5
    detach_history: bool = False
    lif: LIFParameters = field(default_factory=lambda: LIFParameters(detach_membrane=True))

    def check(self, name: str) -> None:
        """As Spikformer's; the interaction stands in self-attention alone."""
        SpikformerConfiguration.check(self, name)  # super() does not survive slots
        if self.attention != "ssa":
            raise ConfigurationError(f"{name}: temporal interaction needs attention ssa, not {self.attention}")

    def released(self) -> "TIMConfiguration":
        """The same network with every threshold at 1.0, as the released code really runs."""
        return replace(self, tim_in_threshold=1.0, tim_out_threshold=1.0, attention_threshold=1.0)


class TemporalInteraction(nn.Module):
    """TIM itself: Q (T, B, n_heads, N, D) spikes to Q' of the same shape, history kept in the memory."""

    def __init__(self, n_tokens: int, configuration: TIMConfiguration) -> None:
        super().__init__()
        lif = configuration.lif
        self.mixing, self.detach_history = configuration.mixing, configuration.detach_history
        self.conv = nn.Conv1d(n_tokens, n_tokens, kernel_size=5, padding=2)
        self.in_lif = LIF(replace(lif, v_threshold=configuration.tim_in_threshold))
        self.out_lif = LIF(replace(lif, v_threshold=configuration.tim_out_threshold))
        self.key = ""

    def forward(self, q: Tensor, memory: Memory) -> Tensor:
        """Q' for each bin; a stream whose history is empty passes Q through at its first bin."""
        previous = memory.old.get(self.key)
        inner = Memory({key: v for key, v in memory.old.items() if key in (self.in_lif.key, self.out_lif.key)})
        mixed = []
        for q_t in q:  # (B, n_heads, N, D)
            previous = q_t if previous is None else self._interact(q_t, previous, inner)
            mixed.append(previous)
        memory.new.update(inner.old)
        assert previous is not None  # T is at least one
        memory.new[self.key] = previous
        return torch.stack(mixed)

    def _interact(self, q_t: Tensor, previous: Tensor, inner: Memory) -> Tensor:
        past = previous.detach() if self.detach_history else previous
        history = self.conv(past.flatten(0, 1)).view_as(q_t)
        u = self.in_lif(history.unsqueeze(0), inner)
        y = self.mixing * u + (1.0 - self.mixing) * q_t.unsqueeze(0)
        out: Tensor = self.out_lif(y, inner)[0]
        inner.old = dict(inner.new)
        return out


class TIMSpikformer(Spikformer):
    """Spikformer with one temporal interaction in each block."""

    def __init__(self, configuration: TIMConfiguration) -> None:
        super().__init__(configuration, lambda: TemporalInteraction(configuration.n_tokens, configuration))
