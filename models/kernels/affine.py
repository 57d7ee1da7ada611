"""What stands before a neuron once its BN is folded."""

from typing import NamedTuple

from torch import Tensor


class Affine(NamedTuple):
    """A folded BN before the neuron, x * scale + shift: `scale` and `shift` float32 (C,).

    `inner` is how many neurons of one channel lie side by side: H * W where channels come first, 1 where they come last.
    """

    scale: Tensor
    shift: Tensor
    inner: int
