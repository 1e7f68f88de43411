"""How each tool is asked whether the gradients of a work are right: True, False, or None where it cannot say.

A tool that is not installed raises ImportError when it is asked; the table then has a row that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.works import Work

Tool = Callable[[Work], "bool | None"]


def ours(*, oracles: list[str] | None = None, checks: tuple[str, ...] | None = ("pullback-matches-oracle",)) -> Tool:
    import gradverify as gv

    def ask(work: Work) -> bool | None:
        report = gv.verify((work.cached, work.pull), work.primals, checks=checks, oracles=oracles)
        return {"pass": True, "fail": False}.get(report.verdict)

    return ask


def gradcheck(**options: Any) -> Tool:
    import torch

    def ask(work: Work) -> bool:
        names = list(work.primals)

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                out, ctx.cache = work.cached(**{n: t.detach().numpy() for n, t in zip(names, tensors, strict=True)})
                return torch.as_tensor(np.array(out))

            @staticmethod
            def backward(ctx, upstream):
                found = work.pull(upstream.numpy(), ctx.cache)
                return tuple(torch.as_tensor(np.array(found[n])) for n in names)

        inputs = [torch.tensor(work.primals[n]).requires_grad_() for n in names]
        return torch.autograd.gradcheck(Function.apply, inputs, raise_exception=False, **options)

    return ask


def gradcheck_fast_unexplained() -> Tool:
    """Fast mode without the slow mode that it recomputes to explain a failure, which at 1e6 entries never ends."""
    from unittest import mock

    import torch

    inner = gradcheck(fast_mode=True)

    def ask(work: Work) -> bool:
        where = f"{torch.autograd.gradcheck.__module__}._run_slow_mode_and_get_error"
        with mock.patch(where, return_value="not equal"):
            return inner(work)

    return ask


def autograd_check() -> Tool:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def ask(work: Work) -> bool:
        names = list(work.primals)

        @primitive
        def f(*arrays):
            return work.value(**dict(zip(names, arrays, strict=True)))

        def pullback(i):
            def maker(_, *arrays):
                cache = work.cached(**dict(zip(names, arrays, strict=True)))[1]
                return lambda upstream: work.pull(upstream, cache)[names[i]]

            return maker

        defvjp(f, *(pullback(i) for i in range(len(names))))
        state = np.random.get_state()  # noqa: NPY002 - check_grads draws from the global generator
        np.random.seed(0)  # noqa: NPY002 - as above
        try:
            check_grads(f, modes=["rev"], order=1)(*work.primals.values())
        except AssertionError:
            return False
        finally:
            np.random.set_state(state)  # noqa: NPY002 - as above
        return True

    return ask


def scipy_check(tolerance: float = 1e-5) -> Tool:
    """check_grad gives a distance and no verdict: judged at a relative ``tolerance``."""
    from scipy.optimize import check_grad

    def ask(work: Work) -> bool:
        x = work.flat()
        gap = check_grad(lambda v: float(work.value(**work.unflat(v))), work.gradient, x)
        return bool(gap <= tolerance * np.linalg.norm(work.gradient(x)))

    return ask


def scipy_approx(tolerance: float = 1e-5) -> Tool:
    from scipy.optimize._numdiff import approx_derivative

    def ask(work: Work) -> bool:
        x = work.flat()
        found = approx_derivative(lambda v: float(work.value(**work.unflat(v))), x, method="3-point")
        got = work.gradient(x)
        return bool(np.max(np.abs(found - got)) <= tolerance * np.max(np.abs(got)))

    return ask


def numdifftools_gradient(tolerance: float = 1e-5) -> Tool:
    import numdifftools

    def ask(work: Work) -> bool:
        x = work.flat()
        found = numdifftools.Gradient(lambda v: float(work.value(**work.unflat(v))))(x)
        got = work.gradient(x)
        return bool(np.max(np.abs(found - got)) <= tolerance * np.max(np.abs(got)))

    return ask


def scipy_differentiate(tolerance: float = 1e-5) -> Tool:
    """One derivative an entry: scipy.differentiate wants functions that are vectorised over the points."""
    from scipy.differentiate import derivative

    def ask(work: Work) -> bool:
        x, got = work.flat(), work.gradient(work.flat())

        def line(t, i):
            t, i = np.broadcast_arrays(t, i)
            values = np.empty(t.shape)
            for at, step in np.ndenumerate(t):
                moved = x.copy()
                moved[int(i[at])] += step
                values[at] = work.value(**work.unflat(moved))
            return values

        found = derivative(line, np.zeros(x.size), args=(np.arange(x.size),), initial_step=1e-3).df
        return bool(np.max(np.abs(found - got)) <= tolerance * np.max(np.abs(got)))

    return ask


def jax_check() -> Tool:
    import jax
    from jax.test_util import check_grads

    def ask(work: Work) -> bool:
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        names = list(work.primals)
        out = np.asarray(work.value(**work.primals))

        @jax.custom_vjp
        def f(*arrays):
            spec = jax.ShapeDtypeStruct(out.shape, out.dtype)
            return jax.pure_callback(
                lambda *a: work.value(**{n: np.asarray(v) for n, v in zip(names, a, strict=True)}), spec, *arrays
            )

        def backward(saved, upstream):
            arrays = {n: np.asarray(v) for n, v in zip(names, saved, strict=True)}
            found = work.pull(np.asarray(upstream), work.cached(**arrays)[1])
            return tuple(jnp.asarray(found[n]) for n in names)

        f.defvjp(lambda *a: (f(*a), a), backward)
        try:
            check_grads(f, tuple(work.primals.values()), order=1, modes=["rev"])
        except AssertionError:
            return False
        return True

    return ask


def hand_stacked(k: int = 32) -> Tool:
    """A central difference of every entry, ``k`` of them in a stack: what somebody writes who knows the network."""

    def ask(work: Work) -> bool:
        cells = dict(
            zip(work.forward.__code__.co_freevars, (c.cell_contents for c in work.forward.__closure__), strict=True)
        )
        X, y, batch, layers, step = cells["X"], cells["y"], cells["batch"], cells["layers"], 1e-5
        out, cache = work.cached(**work.primals)
        got, good = work.pull(np.ones_like(out), cache), True
        for name, base in work.primals.items():
            found = np.empty(base.size)
            for start in range(0, base.size, k):
                at = np.arange(start, min(start + k, base.size))
                n = len(at)
                stack = np.repeat(base[None], 2 * n, axis=0)
                rows = stack.reshape(2 * n, -1)
                rows[np.arange(n), at] += step
                rows[n + np.arange(n), at] -= step
                p = {**work.primals, name: stack[:, None, :] if base.ndim == 1 else stack}
                a = X
                for i in layers:
                    z = a @ p[f"W{i}"] + p[f"b{i}"]
                    a = np.tanh(z) if i < layers[-1] else z
                loss = 0.5 * ((a - y) ** 2).sum((-1, -2)) / batch
                found[at] = (loss[:n] - loss[n:]) / (2 * step)
                work.calls[0] += 2 * n
            good &= bool(np.max(np.abs(found - got[name].ravel())) <= 1e-5 * np.max(np.abs(got[name])))
        return good

    return ask


def ours_stacked() -> Tool:
    """The same central difference of every entry through gradverify.stacking, for any NumPy code."""
    from gradverify.adapters.functions import Functions
    from gradverify.sampling import Forward
    from gradverify.stacking import Stacked
    from gradverify.types import Case

    def ask(work: Work) -> bool:
        out, cache = work.cached(**work.primals)
        got, good = work.pull(np.ones_like(out), cache), True
        case = Case(name="work", primals=work.primals, upstream=np.ones_like(out))
        stacked = Stacked(Forward(Functions(work.cached, work.pull), case))
        for name, base in work.primals.items():
            steps = np.tile([1e-5, -1e-5], (base.size, 1))
            values, _ = stacked.along(name, np.arange(base.size), steps)
            found = (values[:, 0] - values[:, 1]) / 2e-5
            good &= bool(np.max(np.abs(found - got[name].ravel())) <= 1e-5 * np.max(np.abs(got[name])))
        work.calls[0] += stacked.forward.evaluations - work.calls[0]
        return good

    return ask
