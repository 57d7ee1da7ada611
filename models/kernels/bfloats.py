"""bfloat16 in numba, which has no such type: values as they lie in memory, float32 or the upper half of its bits in uint16."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload


def widen(value: Any) -> Any:
    """Float32 of a float32, or of the bits of a bfloat16."""


def narrow(value: Any, like: Any) -> Any:
    """Float32 as it is, or rounded to the bits of the nearest bfloat16 (half to even) where `like` is uint16."""


@overload(widen)
def _widen_typed(value: Any) -> Callable[[Any], Any]:
    def keep(value: Any) -> Any:
        return value

    def shift(value: Any) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    return shift if value.bitwidth == 16 else keep


@overload(narrow)
def _narrow_typed(value: Any, like: Any) -> Callable[[Any, Any], Any]:  # noqa: ARG001 # numba calls it with types, by name
    def keep(value: Any, like: Any) -> Any:  # noqa: ARG001 # one shape for both
        return value

    def round_to_even(value: Any, like: Any) -> Any:  # noqa: ARG001 # one shape for both
        bits = np.float32(value).view(np.uint32)
        return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return round_to_even if like.bitwidth == 16 else keep
