"""Q K^T V of spikes, as a numba kernel: of whole numbers, so that the cheaper order may be taken, and sums in any order."""

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
    pairs, rows = np.empty((D, D), np.float32), np.empty((4, D, N), np.float32)
    for stream in range(n_streams):
        for head in range(n_heads):
            # tokens side by side, as most networks have them: loops along them are long and without branches
            for i, source in enumerate((q, k, v)):
                for d in range(D):
                    for n in range(N):
                        rows[i, d, n] = source[stream, head, n, d]
            _count(rows[0], rows[1], rows[2], counts)
            _pair(rows[1], rows[2], pairs)
            _pick(rows[0], pairs, rows[3])
            for n in range(N):
                for d in range(D):
                    out[stream, head, n, d] = rows[3, d, n]
    counts[3] += counts[2] * N
    counts[4] += counts[0] * D


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _count(q: Floats, k: Floats, v: Floats, counts: npt.NDArray[np.float64]) -> None:
    """Add what one head costs; all (D, N)."""
    D, N = q.shape
    k_of_token, v_of_token = np.zeros(N, np.float32), np.zeros(N, np.float32)
    for d in range(D):
        n_q, n_k, n_v = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for n in range(N):
            n_q += q[d, n]
            n_k += k[d, n]
            n_v += v[d, n]
            k_of_token[n] += k[d, n]
            v_of_token[n] += v[d, n]
        counts[0] += n_q
        counts[1] += n_k
        counts[2] += n_v
        counts[3] += n_q * n_k
    both = np.float32(0.0)
    for n in range(N):
        both += k_of_token[n] * v_of_token[n]
    counts[4] += both


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def _pair(k: Floats, v: Floats, pairs: Floats) -> None:
    """K^T V of one head, (D, D), from (D, N)."""
    D, N = k.shape
    for d in range(D):
        for e in range(D):
            total = np.float32(0.0)
            for n in range(N):
                total += k[d, n] * v[e, n]
            pairs[d, e] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _pick(q: Floats, pairs: Floats, out: Floats) -> None:
    """Q times `pairs` of one head, (D, N); a pair that never fired together is passed over."""
    D, N = q.shape
    out[:] = 0.0
    for d in range(D):
        for e in range(D):
            value = pairs[d, e]
            if value != 0.0:
                for n in range(N):
                    out[e, n] += q[d, n] * value
