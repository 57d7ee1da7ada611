"""Q K^T V of spikes, as a numba kernel: of whole numbers, so that the cheaper order may be taken."""

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy")
def multiply(q: Floats, k: Floats, v: Floats, out: Floats, counts: npt.NDArray[np.float64]) -> None:
    """Fill `out` with Q (K^T V); all (B, n_heads, N, D), any strides.

    `counts` (5,): spikes of q, k and v, then additions of (Q K^T) V and of Q (K^T V).
    """
    n_streams, n_heads, N, D = q.shape
    counts[:] = 0.0
    pairs = np.empty((D, D), np.float32)
    for stream in range(n_streams):
        for head in range(n_heads):
            _count(q[stream, head], k[stream, head], v[stream, head], counts)
            _pair(k[stream, head], v[stream, head], pairs)
            _pick(q[stream, head], pairs, out[stream, head])
    counts[3] += counts[2] * N
    counts[4] += counts[0] * D


@njit(cache=True, nogil=True, error_model="numpy")
def _count(q: Floats, k: Floats, v: Floats, counts: npt.NDArray[np.float64]) -> None:
    """Add what one head costs; all (N, D)."""
    N, D = q.shape
    q_of_channel, k_of_channel = np.zeros(D, np.float32), np.zeros(D, np.float32)
    for n in range(N):
        n_q, n_k, n_v = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for d in range(D):
            n_q += q[n, d]
            n_k += k[n, d]
            n_v += v[n, d]
            q_of_channel[d] += q[n, d]
            k_of_channel[d] += k[n, d]
        counts[0] += n_q
        counts[1] += n_k
        counts[2] += n_v
        counts[4] += n_k * n_v
    for d in range(D):
        counts[3] += q_of_channel[d] * k_of_channel[d]


@njit(cache=True, nogil=True, error_model="numpy")
def _pair(k: Floats, v: Floats, pairs: Floats) -> None:
    """K^T V of one head, (D, D): only where a key fires is there anything to add."""
    N, D = k.shape
    pairs[:] = 0.0
    for n in range(N):
        for d in range(D):
            if k[n, d] != 0.0:
                for e in range(D):
                    pairs[d, e] += k[n, d] * v[n, e]


@njit(cache=True, nogil=True, error_model="numpy")
def _pick(q: Floats, pairs: Floats, out: Floats) -> None:
    """Q times `pairs` of one head, (N, D): of the rows of `pairs` those whose query fires."""
    N, D = q.shape
    out[:] = 0.0
    for n in range(N):
        for d in range(D):
            if q[n, d] != 0.0:
                for e in range(D):
                    out[n, e] += q[n, d] * pairs[d, e]
