"""One helper: compare an adapter's gradients with central differences of its own forward, written here anew."""

from __future__ import annotations

import numpy as np
import pytest

from gradverify.adapters._adapt import adapt
from gradverify.types import Case, leaves, like


def differences(adapter, case, upstream, name, step=1e-5):
    """d<upstream, out>/d primals[name], about 1e-9 right for the smooth float64 code of the tests."""
    x = case.primals[name]
    want = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            moved[i] += sign * step
            out = leaves(adapter.evaluate(case.at({name: moved})))
            sides.append(sum(float(np.sum(np.multiply(u, out[k]))) for k, u in leaves(upstream).items()))
        want[i] = (sides[0] - sides[1]) / (2 * step)
    return want


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def agree(rng):
    """``agree(subject, primals, constants, without=("X",), **options)`` -> the adapter, compared."""

    def compare(subject, primals, constants=None, *, without=(), expect=None, rtol=1e-6, foreign=dict, **options):
        constants = constants or {}
        adapter = adapt(subject, primals, constants=constants, **options)
        primals = {**primals, **getattr(adapter, "parameters", dict)()} | primals
        case = Case(name="here", primals=primals, constants=constants)
        out, pullback = adapter.vjp(case)
        upstream = like(out, {k: rng.standard_normal(v.shape) for k, v in leaves(out).items()})
        got = pullback(upstream)
        assert list(got) == list(primals)
        if expect is not None:
            assert set(primals) == set(expect)
        compared = 0
        for name, value in primals.items():
            if name in without or value.dtype.kind != "f":
                assert got[name] is None
                continue
            want = differences(adapter, case, upstream, name)
            np.testing.assert_allclose(got[name], want, rtol=rtol, atol=1e-7, err_msg=name)
            compared += value.size
        assert compared > 0
        raw = adapter.call(foreign(case.thawed()), constants)
        for k, v in leaves(out).items():
            there = leaves(raw)[k]
            np.testing.assert_allclose(there.detach().cpu() if hasattr(there, "cpu") else there, v, rtol=1e-12)
        return adapter

    return compare


@pytest.fixture
def agree_torch(agree):
    """As ``agree``, for adapters whose ``call`` takes torch tensors."""
    torch = pytest.importorskip("torch")

    def compare(subject, primals, constants=None, **options):
        def tensors(arrays):
            return {k: torch.tensor(v, device=options.get("device")) for k, v in arrays.items()}

        return agree(subject, primals, constants, foreign=tensors, **options)

    return compare


@pytest.fixture
def central():
    return differences
