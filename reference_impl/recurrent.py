"""Backpropagation through time: a plain recurrent network and an LSTM.

Unrolled, the network is a deep one whose layers share their parameters: delta flows from step t+1 to step t, and
the gradients of the shared parameters are sums over the steps (section 'Derivative of a Sum').
"""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, leading, real
from reference_impl.stable import logistic, sech2


def rnn(X: ArrayLike, h0: ArrayLike, Wx: ArrayLike, Wh: ArrayLike, b: ArrayLike) -> tuple[Array, Pullback]:
    """h_t = tanh(Wx x_t + Wh h_(t-1) + b) for t = 1 .. T, and its pullback through time.

    X  (..., T, B, n_in), T >= 1; h0  (..., B, n); Wx  (..., n, n_in); Wh  (..., n, n); b  (..., n)
    ->  H  (..., T, B, n), every hidden state
    pullback(u: like H) -> (dX, dh0, dWx, dWh, db).
    Beyond the derivation; section 'Propagating Error to Previous Layer', where the previous layer is step t-1.
    """
    X, h0, Wx, Wh, b = _arguments(X, h0, Wx, Wh, b, gates=1)
    bias = b[..., None, :]
    h, z = [h0], []
    for t in range(X.shape[-3]):
        z.append(X[..., t, :, :] @ Wx.mT + h[t] @ Wh.mT + bias)
        h.append(np.tanh(z[t]))
    H = np.stack(h[1:], axis=-3)

    def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
        u = cotangent(upstream, H)
        dX: list[Array] = []
        dh, dWx, dWh, db = (np.zeros((), u.dtype) for _ in range(4))
        for t in reversed(range(len(z))):
            delta = (u[..., t, :, :] + dh) * sech2(z[t])  # from the output at t, and from step t+1
            dX.insert(0, delta @ Wx)
            dWx = dWx + delta.mT @ X[..., t, :, :]
            dWh = dWh + delta.mT @ h[t]
            db = db + delta.sum(axis=-2)
            dh = delta @ Wh
        return fit(np.stack(dX, axis=-3), X), fit(dh, h0), fit(dWx, Wx), fit(dWh, Wh), fit(db, b)

    return H, pullback


def lstm(
    X: ArrayLike, h0: ArrayLike, c0: ArrayLike, Wx: ArrayLike, Wh: ArrayLike, b: ArrayLike
) -> tuple[Array, Pullback]:
    """Long short-term memory, and its pullback through time.

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of the four blocks of Wx x_t + Wh h_(t-1) + b;
    c_t = f c_(t-1) + i g;  h_t = o tanh(c_t)
    X  (..., T, B, n_in), T >= 1; h0, c0  (..., B, n); Wx  (..., 4n, n_in); Wh  (..., 4n, n); b  (..., 4n)
    ->  H  (..., T, B, n), every hidden state
    pullback(u: like H) -> (dX, dh0, dc0, dWx, dWh, db).
    Beyond the derivation. Source: Gers, Schmidhuber and Cummins, Learning to Forget, Neural Computation 12 (2000),
    with the block order i, f, g, o of torch.nn.LSTM.
    """
    X, h0, Wx, Wh, b = _arguments(X, h0, Wx, Wh, b, gates=4)
    c0 = real("c0", c0, 2, "(..., B, n)")
    if c0.shape[-2:] != h0.shape[-2:]:
        raise bad("c0", c0, f"(..., {h0.shape[-2]}, {h0.shape[-1]}) to fit h0")
    leading(X=(X, 3), h0=(h0, 2), c0=(c0, 2), Wx=(Wx, 2), Wh=(Wh, 2), b=(b, 1))
    n, bias = h0.shape[-1], b[..., None, :]
    h, c, z = [h0], [c0], []
    for t in range(X.shape[-3]):
        z.append(X[..., t, :, :] @ Wx.mT + h[t] @ Wh.mT + bias)  # (..., B, 4n)
        i, f, g, o = _gates(z[t], n)
        c.append(f * c[t] + i * g)
        h.append(o * np.tanh(c[t + 1]))
    H = np.stack(h[1:], axis=-3)

    def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
        u = cotangent(upstream, H)
        dX: list[Array] = []
        dh, dc, dWx, dWh, db = (np.zeros((), u.dtype) for _ in range(5))
        for t in reversed(range(len(z))):
            i, f, g, o = _gates(z[t], n)
            dh = u[..., t, :, :] + dh
            dc = dc + dh * o * sech2(c[t + 1])
            do = dh * np.tanh(c[t + 1])
            zi, zf, zg, zo = np.split(z[t], 4, axis=-1)
            delta = np.concatenate(
                [dc * g * i * logistic(-zi), dc * c[t] * f * logistic(-zf), dc * i * sech2(zg), do * o * logistic(-zo)],
                axis=-1,
            )  # sigma' = sigma(z) sigma(-z)
            dX.insert(0, delta @ Wx)
            dWx = dWx + delta.mT @ X[..., t, :, :]
            dWh = dWh + delta.mT @ h[t]
            db = db + delta.sum(axis=-2)
            dh, dc = delta @ Wh, dc * f
        return fit(np.stack(dX, axis=-3), X), fit(dh, h0), fit(dc, c0), fit(dWx, Wx), fit(dWh, Wh), fit(db, b)

    return H, pullback


def _gates(z: Array, n: int) -> tuple[Array, Array, Array, Array]:
    """Input gate, forget gate, candidate, output gate, each (..., B, n)."""
    i, f, g, o = z[..., :n], z[..., n : 2 * n], z[..., 2 * n : 3 * n], z[..., 3 * n :]
    return logistic(i), logistic(f), np.tanh(g), logistic(o)


def _arguments(
    X: ArrayLike, h0: ArrayLike, Wx: ArrayLike, Wh: ArrayLike, b: ArrayLike, gates: int
) -> tuple[Array, Array, Array, Array, Array]:
    """The arguments as arrays; raises ValueError where their shapes do not fit."""
    X = real("X", X, 3, "(..., T, B, n_in), time first")
    h0 = real("h0", h0, 2, "(..., B, n)")
    Wx, Wh, b = real("Wx", Wx, 2, "(..., n, n_in)"), real("Wh", Wh, 2, "(..., n, n)"), real("b", b, 1, "(..., n)")
    if X.shape[-3] == 0:
        raise bad("X", X, "(..., T, B, n_in) with at least one step T")
    if h0.shape[-2] != X.shape[-2]:
        raise bad("h0", h0, f"(..., {X.shape[-2]}, n) to fit X of shape {X.shape}")
    n_in, n = X.shape[-1], h0.shape[-1]
    for name, array, own in (("Wx", Wx, (gates * n, n_in)), ("Wh", Wh, (gates * n, n)), ("b", b, (gates * n,))):
        if array.shape[-len(own) :] != own:
            raise bad(name, array, f"(..., {', '.join(map(str, own))}) to fit X {X.shape} and h0 {h0.shape}")
    leading(X=(X, 3), h0=(h0, 2), Wx=(Wx, 2), Wh=(Wh, 2), b=(b, 1))
    return X, h0, Wx, Wh, b
