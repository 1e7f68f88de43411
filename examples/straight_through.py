"""A backward that is deliberately not the derivative of its forward: rounding to a grid, trained straight through.

The forward is a staircase with slope 0. The backward claims to be the derivative of another function, and
``surrogate=`` says which: that one is what the gradient is judged against.
"""

import numpy as np

import gradverify as gv


def quantize_forward(x):
    return np.clip(np.round(4 * x) / 4, -1, 1), x


def quantize_backward(dout, cache):
    x = cache
    return dout * (np.abs(x) <= 1)


def quantize_backward_unclipped(dout, cache):
    return dout  # also where the forward is clipped


def smooth(x):
    """What quantize is, without the rounding."""
    return np.clip(x, -1, 1)


@gv.subject(surrogate=smooth)
def right_straight_through(rng):
    return (quantize_forward, quantize_backward), {"x": rng.normal(0, 1, (5, 4))}


@gv.subject(surrogate=smooth)
def wrong_straight_through_unclipped(rng):
    return (quantize_forward, quantize_backward_unclipped), {"x": rng.normal(0, 1, (5, 4))}
