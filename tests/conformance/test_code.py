"""A case printed as code is the case again, to the last bit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradverify import strategies
from gradverify.cases import cases_of, ops
from gradverify.conformance import as_code
from gradverify.types import Case


def again(case):
    namespace = {}
    exec(as_code(case), namespace)
    return namespace["case"]


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    else:
        assert a == b


def assert_same_case(a, b):
    assert (a.name, a.op, a.tags, dict(a.attrs)) == (b.name, b.op, b.tags, dict(b.attrs))
    for mine, other in ((a.primals, b.primals), (a.constants, b.constants)):
        assert list(mine) == list(other)
        for k in mine:
            assert_same(mine[k], other[k])


@pytest.mark.parametrize("op", ops())
def test_a_case_of_the_catalogue_survives(op):
    for case in cases_of(op):
        assert_same_case(case, again(case))


@given(st.sampled_from(strategies.ops()).flatmap(lambda op: strategies.cases(op, dtype="float32")))
@settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_a_generated_case_survives(case):
    assert_same_case(case, again(case))


@pytest.mark.parametrize(
    "value",
    [np.array([np.nan, np.inf, -np.inf]), np.zeros((0, 3)), np.array(5e-324), np.array([True, False]), np.float32(0.1)],
    ids=["not finite", "empty", "subnormal", "bools", "a NumPy number"],
)
def test_unusual_arrays_survive(value):
    case = Case(name="c", op="o", primals={"x": np.ones(2)}, constants={"v": value, "t": (1, [2.5, "a"], None)})
    found = again(case).constants
    assert_same(np.asarray(value), np.asarray(found["v"]))
    assert found["t"] == (1, [2.5, "a"], None)


def test_an_upstream_survives():
    case = Case(name="c", op="o", primals={"x": np.ones(2)}, upstream=np.array([0.1, -3.0]))
    assert again(case).upstream.tobytes() == case.upstream.tobytes()
