"""Pooling over windows of an image. Beyond the derivation."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reference_impl.conv import Pair, pair
from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, real


def max_pool2d(X: ArrayLike, *, size: Pair = 2, stride: Pair | None = None) -> tuple[Array, Pullback]:
    """The largest entry of each window, and its pullback.

    X  (..., H, W); size, stride  an int or (vertical, horizontal); stride None: equal to size, no overlap
    ->  (..., (H - KH) // SH + 1, (W - KW) // SW + 1)
    pullback(u: like out) -> (dX,): each u goes to the entry that won, of a tie to the first in reading order;
    windows that overlap add up. Beyond the derivation; sections 'ReLU' (max) and 'Derivative of a Sum'.
    """
    X, (KH, KW), (sh, sw), windows = _windows(X, size, stride)
    OH, OW = windows.shape[-4:-2]
    flat = windows.reshape(*windows.shape[:-2], KH * KW)
    winner = flat.argmax(axis=-1)
    out = np.take_along_axis(flat, winner[..., None], axis=-1)[..., 0].copy()

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        u = cotangent(upstream, out)
        dX = np.zeros(X.shape, dtype=u.dtype)
        for i in range(KH):
            for j in range(KW):
                dX[..., i : i + sh * OH : sh, j : j + sw * OW : sw] += np.where(winner == i * KW + j, u, 0)
        return (fit(dX, X),)

    return out, pullback


def mean_pool2d(X: ArrayLike, *, size: Pair = 2, stride: Pair | None = None) -> tuple[Array, Pullback]:
    """The mean of each window, and its pullback: every entry of a window gets u / (KH KW).

    Shapes as ``max_pool2d``. Beyond the derivation; section 'Derivative of a Sum'.
    """
    X, (KH, KW), (sh, sw), windows = _windows(X, size, stride)
    OH, OW = windows.shape[-4:-2]
    out = np.asarray(windows.mean(axis=(-2, -1)))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        share = cotangent(upstream, out) / (KH * KW)
        dX = np.zeros(X.shape, dtype=out.dtype)
        for i in range(KH):
            for j in range(KW):
                dX[..., i : i + sh * OH : sh, j : j + sw * OW : sw] += share
        return (fit(dX, X),)

    return out, pullback


def _windows(X: ArrayLike, size: Pair, stride: Pair | None) -> tuple[Array, tuple[int, int], tuple[int, int], Array]:
    """X, the sizes and strides, and a view (..., OH, OW, KH, KW) of the windows."""
    X = real("X", X, 2, "(..., H, W)")
    kernel = pair("size", size, 1)
    step = kernel if stride is None else pair("stride", stride, 1)
    if kernel[0] > X.shape[-2] or kernel[1] > X.shape[-1]:
        raise bad("X", X, f"(..., H, W) with H >= {kernel[0]} and W >= {kernel[1]}, the size of the window")
    windows = sliding_window_view(X, kernel, axis=(-2, -1))[..., :: step[0], :: step[1], :, :]
    return X, kernel, step, windows
