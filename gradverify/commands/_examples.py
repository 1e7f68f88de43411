"""A right and a wrong line for what has no place for one in its own docstring: causes, and what an oracle takes."""

from __future__ import annotations

#: cause -> (right, wrong)
CAUSES: dict[str, tuple[str, str]] = {
    "accumulated": ("self.dW = delta.T @ x", "self.dW += delta.T @ x, and nobody sets it to zero"),
    "aliased": ("return u * w, u * x", "np.multiply(u, w, out=buf); np.multiply(u, x, out=buf); return buf, buf"),
    "cross-entropy-twice": ("dz = p - y", "dz = softmax_backward(p - y)"),
    "derivative-of-activation-not-preactivation": ("dz = da * tanh_prime(z)", "dz = da * tanh_prime(a)"),
    "detached": ("grads = (dx, dW)", "grads = (dx, None), where the output depends on W"),
    "double-batch-mean": ("delta = (p - y) / B; dW = delta.T @ x", "delta = (p - y) / B; dW = delta.T @ x / B"),
    "dropped-samples": ("for i in range(B)", "for i in range(B - 1)"),
    "dtype": ("dx = np.zeros_like(x)", "dx = np.zeros(x.shape, np.float32) for a float64 x"),
    "extra-term": ("dW = delta.T @ x, as forward has no penalty", "dW = delta.T @ x + reg * W"),
    "kink-convention": ("dx = u * (x > 0), or any value from 0 to u at x = 0", "dx = 2 * u at x = 0"),
    "layout": ("g.reshape(n, -1)", 'g.ravel(order="K").reshape(n, -1)'),
    "missing-activation-derivative": ("dz = da * (1 - a**2)", "dz = da"),
    "missing-batch-mean": ("delta = (p - y) / B, for a mean loss", "delta = p - y"),
    "missing-term": ("dx = u * (s + x * s * (1 - s)), for x * sigmoid(x)", "dx = u * s"),
    "nan-at-edge": ("dx = u * x / np.maximum(norm, tiny)", "dx = u * x / norm, NaN at norm 0"),
    "needs-grad-subset": ("if ctx.needs_input_grad[1]: dW = ...", "if ctx.needs_input_grad[0]: dW = ..."),
    "noise": ("a float64 accumulator", "a sum whose terms cancel in float32"),
    "nondeterministic": ("the mask of forward, kept in the cache", "a new random mask in backward"),
    "off-by-one-layer": ("grads[i] = delta.T @ a[i]", "grads[i - 1] = delta.T @ a[i]"),
    "overflow": ("dx = u * s * (1 - s)", "dx = u * np.exp(-x) / (1 + np.exp(-x)) ** 2"),
    "permuted": ("return dx, dW, db", "return dW, dx, db, of one shape"),
    "primal-mutated": ("z = x - x.max()", "x -= x.max()"),
    "repeated-indices": ("np.add.at(dE, idx, u)", "dE[idx] += u"),
    "scale": ("dx = u * (p - y), for half the squared error", "dx = 2 * u * (p - y)"),
    "sign": ("dx = u * (p - y)", "dx = u * (y - p)"),
    "softmax-elementwise": ("dz = s * (u - (u * s).sum(-1, keepdims=True))", "dz = u * s * (1 - s)"),
    "stale-state": ("return out, (x, W)", "global cache; cache = (x, W); return out"),
    "transposed": ("dx = delta @ W, for z = x @ W.T", "dx = delta @ W.T, which fits where W is square"),
    "unreduced-broadcast": ("db = delta.sum(axis=0)", "db = delta"),
    "updated-weights": ("da = delta @ W; W -= lr * dW", "W -= lr * dW; da = delta @ W"),
    "upstream-ignored": ("dx = u * (1 - a**2)", "dx = 1 - a**2"),
    "upstream-mutated": ("return u * (x > 0)", "u[x < 0] = 0; return u"),
    "wrong-axis": ("db = delta.sum(axis=0)", "db = delta.sum(axis=1), which fits where the batch is as wide"),
    "wrong-mask": ("dx = u * (x > 0)", "dx = u * (u > 0)"),
    "zeroed-entries": ("dx[...] = the whole gradient", "dx = np.zeros_like(x); dx[:-1] = ..."),
}

#: oracle -> (a forward that it answers for, one that it declines or only bounds)
ORACLES: dict[str, tuple[str, str]] = {
    "adjoint": ("an adapter with jvp: <J v, u> must be <v, J^T u>", "two functions without a forward mode"),
    "complex-step": ("np.tanh(x @ W)", "np.abs(x), x.max(), anything that compares or drops the imaginary part"),
    "finite-differences": ("any forward that repeats itself", "np.round(x), or a forward that draws at every call"),
    "forward-mode": ("torch.tanh(x @ W)", "a torch operation without a forward rule, or NumPy"),
    "line-integral": ("a float32 network, along a short line", "a kink on the line: the quadrature says so"),
    "reference": ("a case of the catalogue: gradverify list cases", "an operation that reference_impl has not"),
    "torch-autograd": ("np.tanh(x @ W) in plain NumPy, or torch", "float(x[0]), np.linalg.qr, code in C"),
}
