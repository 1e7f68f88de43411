"""What a pass could not have seen: bugs that look like the truth at this point."""

import numpy as np
import pytest

import gradverify as gv
from gradverify import blind
from tests.oracles.support import VALUE

RNG = np.random.default_rng(0)


def affine(x, W):
    return x @ W.T, (x, W)


def affine_back(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": upstream.T @ x}


def spots(primals, of, pair=(affine, affine_back), **more):
    report = gv.verify(pair, primals, checks=[VALUE], level="quick", **more)
    [found] = [f for f in report.findings if f.case == "given" and f.facts.get("primal") == of]
    assert found.verdict == "pass"
    return found.blind_spots


GENERIC = {"x": RNG.standard_normal((4, 3)), "W": RNG.standard_normal((3, 3))}


def test_a_generic_point_hides_nothing():
    assert spots(GENERIC, "W") == ()


def test_a_batch_of_one_cannot_tell_a_mean_from_a_sum():
    assert any("batch" in s for s in spots({**GENERIC, "x": GENERIC["x"][:1]}, "W"))


def test_a_gradient_that_is_symmetric_hides_its_transpose():
    pair = (lambda W: (0.5 * np.sum(W * W), W), lambda u, W: {"W": u * W})
    symmetric = GENERIC["W"] + GENERIC["W"].T
    assert any("transposed" in s for s in spots({"W": symmetric}, "W", pair))
    assert not any("transposed" in s for s in spots({"W": GENERIC["W"]}, "W", pair))


def test_a_zero_gradient_has_no_blind_spots_to_speak_of():
    pair = (lambda x: (np.ones(3) + 0 * x, x), lambda u, x: {"x": 0 * u})
    assert spots({"x": np.array([1.0, -2.0, 0.5])}, "x", pair) == ()


def test_blind_spots_cost_no_evaluation():
    calls = []

    def counted(x, W):
        calls.append(1)
        return affine(x, W)

    gv.verify((counted, affine_back), GENERIC, checks=[VALUE], level="quick")
    with_spots = len(calls)
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blind, "spots", lambda m, bench: ())
        gv.verify((counted, affine_back), GENERIC, checks=[VALUE], level="quick")
    assert len(calls) == with_spots


def once(x):
    return 2 * x, [x]


def singular_at_zero(u, cache):
    np.linalg.inv(np.abs(u).sum() * np.eye(2))
    return {"x": 2 * u}


def flattened_in_place(u, cache):
    u.view().shape = (-1,)
    return {"x": 2 * u}


@pytest.mark.parametrize(
    ("backward", "check", "causes"),
    [
        (flattened_in_place, "upstream-layouts", ["layout"]),
        (singular_at_zero, "linear-in-upstream", []),
    ],
    ids=["layout", "zeros"],
)
def test_an_exception_is_given_a_cause_only_where_the_check_knows_one(backward, check, causes):
    report = gv.verify((once, backward), {"x": GENERIC["x"]}, checks=[check])
    assert [f.verdict.value for f in report.findings if f.check == check][-1] == "fail"
    assert report.causes == causes
