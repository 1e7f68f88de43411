"""The bench: every answer on private copies, an upstream that asks of every output, one answer per question."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.bench import LiveBench
from gradverify.errors import AdapterError
from gradverify.types import Case

X = np.random.default_rng(0).standard_normal((4, 3))
W = np.random.default_rng(1).standard_normal((2, 3))


def forward(x, W):
    return x @ W.T, (x, W)


def backward(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": upstream.T @ x}


def bench(pair=(forward, backward), primals=None, **more):
    case = Case(
        name="c",
        primals=primals or {"x": X, "W": W},
        **{k: more.pop(k) for k in ("upstream", "constants") if k in more},
    )
    return LiveBench(gv.functions(*pair), case, **more)


def test_the_upstream_asks_of_every_output():
    u = bench().upstream
    assert u.shape == (4, 2)
    assert np.min(np.abs(u)) >= 0.25
    assert len(np.unique(u)) == u.size


def test_the_upstream_is_drawn_from_the_seed_and_the_name_of_the_case():
    assert np.array_equal(bench(seed=3).upstream, bench(seed=3).upstream)
    assert not np.array_equal(bench(seed=3).upstream, bench(seed=4).upstream)


def test_the_upstream_of_the_user_is_kept():
    given = np.arange(8.0).reshape(4, 2)
    assert np.array_equal(bench(upstream=given).upstream, given)


def test_an_upstream_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(AdapterError, match=r"\(2, 4\).*\(4, 2\)"):
        bench(upstream=np.ones((2, 4)))


def test_the_upstream_has_the_dtype_of_the_output():
    narrow = {"x": X.astype(np.float32), "W": W.astype(np.float32)}
    assert bench(primals=narrow).upstream.dtype == np.float32


def test_several_outputs_get_an_upstream_each():
    pair = (lambda x: ({"a": 2 * x, "b": x.sum()}, x), lambda u, x: {"x": 2 * u["a"] + u["b"]})
    u = bench(pair, {"x": X}).upstream
    assert {k: np.shape(v) for k, v in u.items()} == {"a": (4, 3), "b": ()}


def test_a_run_shows_the_very_arrays_that_the_implementation_received():
    received = []

    def spying(x, W):
        received.append(x)
        return forward(x, W)

    run = bench((spying, backward)).run()
    assert run.given["x"] is received[-1]


def test_every_run_receives_its_own_copies():
    b = bench()
    first, second = b.run(), b.run()
    first.given["x"][:] = 0.0
    assert np.array_equal(second.given["x"], X)
    assert np.array_equal(b.case.primals["x"], X)


def test_constants_are_copied_for_every_run():
    def writes(x, mask):
        mask[:] = 0.0
        return x * 1.0, None

    mask = np.ones(3)
    b = bench((writes, lambda u, c: {"x": u}), {"x": X}, constants={"mask": mask})
    b.run()
    assert mask.tolist() == [1, 1, 1]


def test_a_constant_that_refuses_to_be_copied_is_handed_over_as_it_is():
    class Unique:
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    one, seen = Unique(), []
    bench((lambda x, o: (seen.append(o), (x * 1.0, None))[1], lambda u, c: {"x": u}), {"x": X}, constants={"o": one})
    assert seen[0] is one


def test_the_gradients_are_asked_for_once_and_are_safe_from_the_implementation():
    kept = {}

    def reuses(upstream, cache):
        found = backward(upstream, cache)
        for k, g in found.items():
            kept.setdefault(k, np.zeros_like(g))[...] = g
        return kept

    b = bench((forward, reuses))
    first = b.gradients()
    expected = {k: g.copy() for k, g in first.items()}
    b.gradients(np.zeros((4, 2)))
    assert b.gradients() is first
    assert all(np.array_equal(first[k], expected[k]) for k in first)


def test_a_backward_that_scales_its_upstream_in_place_does_not_reach_the_case():
    def scales(upstream, cache):
        upstream *= 0.5
        return backward(2 * upstream, cache)

    b = bench((forward, scales))
    before = b.upstream.copy()
    b.gradients()
    assert np.array_equal(b.upstream, before)


@pytest.mark.parametrize(("dtype", "eps"), [("f8", 2.0**-52), ("f4", 2.0**-23), ("f2", 2.0**-10)])
def test_the_rounding_unit_is_that_of_the_coarsest_array(dtype, eps):
    assert bench(primals={"x": X.astype(dtype), "W": W}).eps == eps
    assert bench(primals={"x": X.astype(dtype), "W": W}).eps_of("x") == eps


def test_the_measurements_are_settled_once():
    b = bench(level="quick")
    assert b.settled() is b.settled()
    assert {m.facts["primal"] for m in b.settled() if "primal" in m.facts} == {"x", "W"}


def test_settling_leaves_the_primals_and_the_upstream_alone():
    b = bench(level="quick")
    before = {k: v.copy() for k, v in b.case.primals.items()}, b.upstream.copy()
    b.settled()
    assert all(np.array_equal(b.case.primals[k], v) for k, v in before[0].items())
    assert np.array_equal(b.upstream, before[1])


def test_integer_primals_are_not_settled():
    pair = (lambda x, i: (x[i], (x, i)), lambda u, c: {"x": np.bincount(c[1], u, c[0].size), "i": None})
    b = bench(pair, {"x": X[0], "i": np.array([0, 2, 2])}, level="quick")
    assert {m.facts.get("primal") for m in b.settled()} == {"x"}
