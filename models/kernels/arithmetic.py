"""The arithmetic of one neuron in one time bin, in plain Python: compiled for the CPU and for the GPU from here alone.

Leaves of float32 arithmetic without branches on data, so that loops around them vectorise; none calls another of ours. The
equations are those of `models.functional`, with the leak multiplied out:

    H = keep v + gain x + bias      keep = 1 - leak; gain = leak with decay_input, else 1; times the scale of a folded BN
"""

import math

import numpy as np

ONE, ZERO, HALF = np.float32(1.0), np.float32(0.0), np.float32(0.5)
HALF_PI = np.float32(math.pi / 2)

# Codes of the surrogate gradients inside a kernel.
SURROGATES = {"sigmoid": 0, "atan": 1, "triangle": 2}

_LOG2_E = np.float32(math.log2(math.e))
# Beyond 2^-60 the slope of the sigmoid is zero beside whatever float32 adds it to.
_REACH = np.float32(60.0)
# 2^-f on [0, 1], interpolated in Chebyshev points by a polynomial of degree 5: relative error below 1e-6.
_P0, _P1, _P2 = np.float32(0.99999994), np.float32(-0.69314313), np.float32(0.24017896)
_P3, _P4, _P5 = np.float32(-0.055298120), np.float32(0.0092091803), np.float32(-0.00094687700)
# Bias and place of the exponent in a float32.
_BIAS, _PLACE = np.int32(127), np.int32(23)


def charge(v: np.float32, x: np.float32, keep: np.float32, gain: np.float32, bias: np.float32) -> np.float32:
    """Potential H before firing."""
    return v * keep + (x * gain + bias)


def settle(h: np.float32, threshold: np.float32, reset: np.float32, is_hard: bool) -> np.float32:
    """Membrane after firing and reset."""
    after = reset if is_hard else h - threshold
    return after if h >= threshold else h


def through(h: np.float32, slope: np.float32, threshold: np.float32, reset: np.float32, is_hard: bool) -> np.float32:
    """Derivative of `settle` to H, with the reset in the graph; `slope` 0 is the detached reset."""
    if is_hard:
        return (ZERO if h >= threshold else ONE) + (reset - h) * slope
    return ONE - threshold * slope


def decaying_exp(z: np.float32) -> np.float32:
    """exp(-z) for z >= 0, in arithmetic alone: 2^-k through the exponent's bits, the rest by a polynomial."""
    y = min(z * _LOG2_E, _REACH)
    whole = np.int32(y)
    f = y - np.float32(whole)
    fraction = _P0 + f * (_P1 + f * (_P2 + f * (_P3 + f * (_P4 + f * _P5))))
    power: np.float32 = np.int32((_BIAS - whole) << _PLACE).view(np.float32)
    return fraction * power


def sigmoid_slope(e: np.float32, alpha: np.float32) -> np.float32:
    """Slope of the sigmoid surrogate where `e` = exp(-alpha |u|)."""
    return alpha * e / ((ONE + e) * (ONE + e))


def atan_slope(u: np.float32, alpha: np.float32) -> np.float32:
    """Slope of the arc tangent surrogate at `u` above threshold."""
    w = HALF_PI * alpha * u
    return HALF * alpha / (ONE + w * w)


def triangle_slope(u: np.float32, alpha: np.float32) -> np.float32:
    """Slope of the triangle surrogate at `u` above threshold."""
    return alpha * max(ZERO, ONE - alpha * abs(u))
