"""Tracing held against central differences of the plain function itself."""

from __future__ import annotations

import numpy as np

from gradverify.tracing import trace


def differences(f, primals, upstream, name, step=1e-5):
    """d <f, upstream> / d primals[name] by four-point central differences, error about 1e-9 relative."""
    x = primals[name]
    found = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        total = 0.0
        for factor, weight in ((1, 8), (-1, -8), (2, -1), (-2, 1)):
            moved = {k: np.array(v) for k, v in primals.items()}
            moved[name][index] += factor * step
            total += weight * np.sum(np.asarray(f(moved)) * upstream)
        found[index] = total / (12 * step)
    return found


def assert_traced(f, *, atol=1e-7, **primals):
    """The traced value equals the plain one, and all its gradients equal differences of the plain one."""
    primals = {k: np.asarray(v, dtype=float) for k, v in primals.items()}

    def call(p, constants):
        return f(p)

    plain = np.asarray(f({k: np.array(v) for k, v in primals.items()}))
    result = trace(call, primals, {}, expect=plain)
    np.testing.assert_allclose(result.out, plain, rtol=1e-10, atol=1e-12)
    upstream = np.random.default_rng(7).standard_normal(plain.shape)
    grads = result.vjp(upstream)
    for name in primals:
        want = differences(f, primals, upstream, name)
        np.testing.assert_allclose(grads[name], want, rtol=1e-6, atol=atol, err_msg=name)
    return result
