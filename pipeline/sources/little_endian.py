"""Numbers of 1 to 8 bytes out of arrays of bytes, in compiled code, wherever they lie. Checks nothing."""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.sources.ordering import signed


@njit(cache=True, nogil=True)
def load8(data: npt.NDArray[np.uint8], at: int) -> int:
    """The byte at `at` as a number."""
    return signed(np.uint64(data[np.uint64(at)]))


@njit(cache=True, nogil=True)
def load16(data: npt.NDArray[np.uint8], at: int) -> int:
    """Two bytes as a number; unsigned indices, because only then the compiler makes one load of all bytes."""
    i = np.uint64(at)
    return signed(np.uint64(data[i]) | np.uint64(data[i + np.uint64(1)]) << np.uint64(8))


@njit(cache=True, nogil=True)
def load32(data: npt.NDArray[np.uint8], at: int) -> int:
    """Four bytes as a number."""
    return load16(data, at) | load16(data, at + 2) << 16


@njit(cache=True, nogil=True)
def load_signed32(data: npt.NDArray[np.uint8], at: int) -> int:
    """Four bytes as a number with a sign."""
    word = load32(data, at)
    return word - ((word & 0x80000000) << 1)


@njit(cache=True, nogil=True)
def load64(data: npt.NDArray[np.uint8], at: int) -> np.uint64:
    """Eight bytes as a word."""
    return np.uint64(load32(data, at)) | np.uint64(load32(data, at + 4)) << np.uint64(32)


@njit(cache=True, nogil=True)
def store64(data: npt.NDArray[np.uint8], at: int, word: np.uint64) -> None:
    """Write a word as eight bytes; the compiler makes one store of them."""
    i = np.uint64(at)
    for k in range(8):
        data[i + np.uint64(k)] = np.uint8((word >> np.uint64(8 * k)) & np.uint64(0xFF))
