"""Two-dimensional convolution: an affine map of the patches under the kernel."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, leading, real

Pair = int | tuple[int, int]


def conv2d(X: ArrayLike, W: ArrayLike, b: ArrayLike, *, stride: Pair = 1, padding: Pair = 0) -> tuple[Array, Pullback]:
    """Cross-correlation of images with kernels, as in every deep-learning library, and its pullback.

    X  (..., B, C, H, W); W  (..., O, C, KH, KW); b  (..., O); stride, padding  an int or (vertical, horizontal)
    ->  (..., B, O, (H + 2 PH - KH) // SH + 1, (W + 2 PW - KW) // SW + 1); the padding is zeros
    pullback(u: like out) -> (dX, dW, db): dW and db are those of ``affine`` over the patches; dX adds up the
    patches' gradients where they overlap.
    Beyond the derivation; the affine map of section 'Vectorization for Batches', shared between places.
    """
    X = real("X", X, 4, "(..., B, C, H, W)")
    W, b = real("W", W, 4, "(..., O, C, KH, KW)"), real("b", b, 1, "(..., O)")
    (sh, sw), (ph, pw) = pair("stride", stride, 1), pair("padding", padding, 0)
    *_, out_channels, C, KH, KW = W.shape
    *_, B, channels, height, width = X.shape
    if channels != C:
        raise bad("W", W, f"(..., O, {channels}, KH, KW) to fit X of shape {X.shape}")
    if b.shape[-1] != out_channels:
        raise bad("b", b, f"(..., {out_channels}) to fit W of shape {W.shape}")
    if not (1 <= KH <= height + 2 * ph and 1 <= KW <= width + 2 * pw):
        raise bad("W", W, f"a kernel of 1 .. {height + 2 * ph} x 1 .. {width + 2 * pw}, the padded image")
    leading(X=(X, 4), W=(W, 4), b=(b, 1))

    padded = np.pad(X, [(0, 0)] * (X.ndim - 2) + [(ph, ph), (pw, pw)])
    windows = sliding_window_view(padded, (KH, KW), axis=(-2, -1))[..., ::sh, ::sw, :, :]
    OH, OW = windows.shape[-4:-2]  # windows: (..., B, C, OH, OW, KH, KW)
    patches = np.moveaxis(windows, -5, -3).reshape(*X.shape[:-3], OH * OW, C * KH * KW)
    kernels = W.reshape(*W.shape[:-3], C * KH * KW)  # (..., O, C KH KW)
    Z = patches @ kernels.mT[..., None, :, :] + b[..., None, None, :]  # (..., B, OH OW, O)
    out = np.array(Z.mT.reshape(*Z.shape[:-2], out_channels, OH, OW), order="C")

    def pullback(upstream: ArrayLike) -> tuple[Array, Array, Array]:
        u = cotangent(upstream, out)
        Delta = u.reshape(*u.shape[:-2], OH * OW).mT  # (..., B, OH OW, O)
        dW = (Delta.mT @ patches).sum(axis=-3).reshape(*u.shape[:-4], out_channels, C, KH, KW)
        db = u.sum(axis=(-4, -2, -1))
        dpatches = (Delta @ kernels[..., None, :, :]).reshape(*u.shape[:-4], B, OH, OW, C, KH, KW)
        dwindows = np.moveaxis(dpatches, -3, -5)  # (..., B, C, OH, OW, KH, KW)
        dpadded = np.zeros((*u.shape[:-4], *padded.shape[-4:]), dtype=u.dtype)
        for i in range(KH):
            for j in range(KW):
                dpadded[..., i : i + sh * OH : sh, j : j + sw * OW : sw] += dwindows[..., i, j]
        dX = dpadded[..., ph : ph + height, pw : pw + width].copy()
        return fit(dX, X), fit(dW, W), fit(db, b)

    return out, pullback


def pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    """(vertical, horizontal) from one int or two; raises ValueError below ``least``."""
    v, h = (value, value) if isinstance(value, int) else value
    if v < least or h < least:
        raise ValueError(f"{name}: {value!r}, expected one or two integers >= {least}")
    return int(v), int(h)
