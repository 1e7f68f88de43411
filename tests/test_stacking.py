"""Stacked evaluation equals single calls, or is not used."""

import tracemalloc

import numpy as np
import pytest

from gradverify.adapters.functions import Functions
from gradverify.adapters.layer import Layer
from gradverify.batched import Batched, Escaped
from gradverify.sampling import Forward, evaluate, flat
from gradverify.stacking import Stacked
from gradverify.types import Case


def softmax(z, axis):
    e = np.exp(z - np.max(z, axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def rnn(x, w):
    h = np.zeros(x.shape[1])
    for row in x:
        h = np.tanh(row + h @ w.T)
    return h


def normalised(x, w):
    mean = x.mean(axis=0)
    return (x - mean) / np.sqrt(np.var(x, axis=0) + 1e-5) @ w


def in_place(x, w):
    out = x.copy()
    out *= 2.0
    out[out < 0] = 0.0
    out += 1
    return out @ w


# what a leading axis would change in silence is the first half; each is answered for all variants at once
STACKABLE = {
    "sum over everything": lambda x, w: np.sum(x @ w),
    "a reduction over axis 0": lambda x, w: np.max(x @ w, axis=0),
    "a mean by x.shape[0]": lambda x, w: (x @ w).sum() / x.shape[0],
    "the length of the batch": lambda x, w: np.sum(np.square(x @ w)) / len(x),
    "a transpose": lambda x, w: x.T @ x @ w.T,
    "flattened": lambda x, w: x.reshape(-1) * w.ravel()[0],
    "flattened samples": lambda x, w: x.reshape(x.shape[0], -1) @ w,
    "softmax over axis 1": lambda x, w: softmax(x @ w, 1),
    "softmax over axis 0": lambda x, w: softmax(x @ w, axis=0),
    "a product of all axes": lambda x, w: np.prod(x) * w.mean(),
    "labels picked": lambda x, w: -np.log(softmax(x @ w, 1)[np.arange(4), [0, 2, 1, 1]]).mean(),
    "a column": lambda x, w: x[:, 1] * w[0, 0],
    "negative axes": lambda x, w: np.concatenate([x.sum(-1), w.sum(-2)], axis=-1),
    "stacked arrays": lambda x, w: np.stack([x @ w, 2 * (x @ w)], axis=-1),
    "moved axes": lambda x, w: np.swapaxes(x, 0, 1)[..., None] * np.expand_dims(w, 1),
    "vectors": lambda x, w: w @ x[0] + np.dot(x[1], w),
    "einsum": lambda x, w: np.einsum("bi,ij->j", x, w),
    "outer products": lambda x, w: np.outer(x[:, 0], w[0]),
    "norms and spreads": lambda x, w: np.linalg.norm(x) + np.std(w, axis=0, ddof=1),
    "a solved system": lambda x, w: np.linalg.solve(w + 9 * np.eye(3), x.T),
    "where": lambda x, w: np.where(x > 0, x, 0.1 * x) @ w,
    "extrema of pairs": lambda x, w: np.maximum(0, np.minimum(x @ w, 6)),
    "clipped": lambda x, w: np.clip(x, -1, 1) * w.max(),
    "powers and constants": lambda x, w: 1 / (1 + np.exp(-(x**2))) + w[0],
    "cumulated": lambda x, w: np.cumsum(x, axis=1) @ w,
    "sorted": lambda x, w: np.sort(x, axis=0) @ w,
    "an axis of one": lambda x, w: x[:, :1] + w[0:1, :],
    "masked entries": lambda x, w: x[x > -9.0] * w[0, 0],
    "split by a slice": lambda x, w: x[None][[0, 0], :, [0, 2]] * w[0, 0],
    "a recurrence": rnn,
    "batch normalisation": normalised,
    "in-place on a copy": in_place,
    "a branch that all variants take alike": lambda x, w: x @ w if np.sum(x) < 1e6 else 0 * x @ w,
    "two outputs": lambda x, w: {"a": x @ w, "b": x.sum()},
    "an output that does not depend on x": lambda x, w: {"a": w * 2, "b": x.sum()},
    "float32 inside": lambda x, w: (x.astype(np.float32) @ w.astype(np.float32)).sum(axis=1),
}

LOOPED = {
    "float() of a value": lambda x, w: x * float(w.sum()),
    "a branch on an entry": lambda x, w: x @ w if x[0, 0] > 2.041 else np.sin(x @ w),
    "written into a plain array": lambda x, w: _written(x, w),
    "np.array of a list": lambda x, w: np.array([list(row) for row in x]) @ w,
    "isinstance": lambda x, w: x @ w if isinstance(x, np.ndarray) else w @ x.T,
    "its own primal overwritten": lambda x, w: _overwritten(x, w),
}


def _written(x, w):
    out = np.zeros(4)
    for i in range(4):
        out[i] = x[i] @ w[0]
    return out


def _overwritten(x, w):
    x *= 2
    w += 1
    return x @ w


def point(forward, *, dtype=float, constants=None):
    rng = np.random.default_rng(3)
    primals = {"x": rng.standard_normal((4, 3)).astype(dtype), "w": rng.standard_normal((3, 3)).astype(dtype)}
    adapter = Functions(forward, lambda upstream, x, w: (x, w))
    case = Case(name="c", primals=primals, constants=constants or {})
    return Forward(adapter, Case(name="c", primals=primals, constants=case.constants, upstream=evaluate(adapter, case)))


def variants(forward, name, k=40):
    rng = np.random.default_rng(4)
    base = forward.base[name]
    stack = base * (1 + 0.3 * rng.standard_normal((k, *base.shape)))
    stack[k // 2 :] = base
    stack[np.arange(k // 2, k), ..., -1] += 1e-5
    return stack


def singles(forward, name, stack):
    return np.stack([flat(evaluate(forward.adapter, forward.case.at({name: v}))) for v in stack])


@pytest.mark.parametrize("name", ["x", "w"])
@pytest.mark.parametrize("code", STACKABLE)
def test_a_stack_of_variants_gives_what_single_calls_give(code, name):
    forward = point(STACKABLE[code])
    stack = variants(forward, name)
    want = singles(forward, name, stack)
    got = Stacked(forward).values(name, stack)
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * forward.eps * np.abs(want).max())
    assert Stacked(forward).way(name) == "batched"


@pytest.mark.parametrize("code", LOOPED)
def test_code_that_cannot_be_stacked_is_looped_over(code):
    forward = point(LOOPED[code])
    for name in ("x", "w"):
        stack = variants(forward, name)
        assert np.array_equal(Stacked(forward).values(name, stack), singles(forward, name, stack))
    assert "loop" in {Stacked(forward).way(name) for name in ("x", "w")}


@pytest.mark.parametrize("code", {**STACKABLE, **LOOPED})
def test_single_entries_moved_give_what_a_loop_gives(code):
    forward = point({**STACKABLE, **LOOPED}[code])
    steps = 1e-3 * np.array([[1.0, -1.0, 0.5]]) * np.arange(1, 13)[:, None]
    got, noise = Stacked(forward).along("x", np.arange(12), steps)
    for i in range(12):
        unit = np.zeros((4, 3))
        unit.flat[i] = 1.0
        want, rounding = forward.along({"x": unit}, list(steps[i]))
        np.testing.assert_allclose(got[i], want, rtol=0, atol=64 * rounding.max())
        np.testing.assert_allclose(noise[i], rounding, rtol=1e-6)


class Lying:
    """A forward sum(x**2, axis=1) whose evaluate_many is wrong in one way."""

    name = "lying"

    def __init__(self, lie):
        self.lie, self.calls = lie, 0

    def vjp(self, case):
        return self.evaluate(case), lambda upstream: {}

    def evaluate(self, case):
        return np.sum(case.primals["x"] ** 2, axis=1)

    def evaluate_many(self, case, stacked):
        self.calls += 1
        return self.lie(np.sum(stacked["x"] ** 2, axis=2), self.calls)


def _last_wrong(out, calls):
    out[-2] += 1.0
    return out


def _later_wrong(out, calls):
    return out if calls == 1 else out * 1.001


LIES = {
    "wrong in the last variant": _last_wrong,
    "wrong from the second call on": _later_wrong,
    "the variants in another order": lambda out, calls: np.roll(out, 1, axis=0),
    "one variant for all": lambda out, calls: np.broadcast_to(out[:1], out.shape),
    "a variant short": lambda out, calls: out[1:],
    "the leading axis last": lambda out, calls: out.T,
    "right to six digits": lambda out, calls: out * (1 + 1e-6),
    "NaN": lambda out, calls: out * np.nan,
    "summed over the variants": lambda out, calls: out.sum(axis=0),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_evaluate_many_that_lies_is_not_believed(lie):
    x = np.random.default_rng(0).standard_normal((4, 3))
    forward = Forward(Lying(LIES[lie]), Case(name="c", primals={"x": x}, upstream=np.ones(4)))
    stacked = Stacked(forward)
    stack = variants(forward, "x")
    assert np.array_equal(stacked.values("x", stack), singles(forward, "x", stack))
    assert stacked.way("x") == "loop"


def test_a_right_evaluate_many_is_used():
    x = np.random.default_rng(0).standard_normal((4, 3))
    adapter = Lying(lambda out, calls: out)
    forward = Forward(adapter, Case(name="c", primals={"x": x}, upstream=np.ones(4)))
    stack = variants(forward, "x")
    assert np.array_equal(Stacked(forward).values("x", stack), singles(forward, "x", stack))
    assert adapter.calls == 2


def test_torch_code_is_stacked_by_vmap():
    torch = pytest.importorskip("torch")
    from gradverify.adapters.torch_module import TorchModule

    def net(x, w):
        return torch.log_softmax(x @ w, dim=1).mean()

    forward = point(lambda x, w: x)
    adapter = TorchModule(net)
    case = Case(name="c", primals=forward.case.primals)
    forward = Forward(adapter, Case(name="c", primals=case.primals, upstream=evaluate(adapter, case)))
    stack = variants(forward, "w")
    want = singles(forward, "w", stack)
    np.testing.assert_allclose(Stacked(forward).values("w", stack), want, rtol=0, atol=64 * forward.eps)
    assert Stacked(forward).way("w") == "vmap"


def test_torch_code_that_vmap_cannot_run_is_looped_over():
    torch = pytest.importorskip("torch")
    from gradverify.adapters.torch_module import TorchModule

    def net(x, w):
        return x @ w if float(x.sum()) < 1e6 else torch.sin(x @ w)

    forward = point(lambda x, w: x)
    adapter = TorchModule(net)
    forward = Forward(adapter, Case(name="c", primals=forward.case.primals, upstream=np.ones((4, 3))))
    stack = variants(forward, "x")
    assert np.array_equal(Stacked(forward).values("x", stack), singles(forward, "x", stack))


def test_a_layer_with_parameters_on_it_is_stacked():
    class Dense:
        def __init__(self):
            self.W = np.random.default_rng(1).standard_normal((3, 2))
            self.b = np.zeros(2)
            self.dW = self.db = None

        def forward(self, x):
            self.x = x
            return np.tanh(x @ self.W + self.b)

        def backward(self, dout):
            self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
            return dout @ self.W.T

    layer = Layer(Dense(), grads={"W": "dW", "b": "db"})
    case = Case(name="c", primals={"x": np.random.default_rng(2).standard_normal((4, 3)), **layer.parameters()})
    forward = Forward(layer, Case(name="c", primals=case.primals, upstream=evaluate(layer, case)))
    for name in forward.names:
        stack = variants(forward, name)
        want = singles(forward, name, stack)
        np.testing.assert_allclose(Stacked(forward).values(name, stack), want, rtol=0, atol=64 * forward.eps)


def test_the_same_dropout_mask_falls_on_every_variant():
    forward = point(lambda x, w: x * (np.random.rand(*x.shape) > 0.5) @ w)  # noqa: NPY002 - as user code draws it
    stack = variants(forward, "x")
    want = singles(forward, "x", stack)
    np.testing.assert_allclose(Stacked(forward).values("x", stack), want, rtol=0, atol=64 * forward.eps * 10)


def test_memory_stays_within_the_budget():
    x = np.random.default_rng(0).standard_normal(20_000)
    adapter = Functions(lambda x: np.tanh(x), lambda upstream, x: x)
    forward = Forward(adapter, Case(name="c", primals={"x": x}, upstream=np.ones(20_000)))
    budget = 12 << 20
    stacked = Stacked(forward, budget=budget)
    tracemalloc.start()
    stacked.along("x", np.arange(100), np.full((100, 2), 1e-3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stacked.way("x") == "batched"
    assert peak < 4 * budget


def test_evaluations_are_counted_one_for_each_variant():
    forward = point(STACKABLE["sum over everything"])
    stacked = Stacked(forward)
    stacked.along("x", np.arange(12), np.full((12, 8), 1e-3))
    before = forward.evaluations
    stacked.along("x", np.arange(12), np.full((12, 8), 1e-3))
    assert forward.evaluations - before == 96


@pytest.mark.parametrize("ask", [float, int, np.asarray, np.array, lambda b: b.item(), lambda b: b.tolist()])
def test_one_number_asked_of_many_variants_escapes(ask):
    with pytest.raises(Escaped):
        ask(Batched(np.array([1.0, 2.0])))


def test_a_branch_that_variants_take_differently_escapes():
    with pytest.raises(Escaped, match="differs from variant to variant"):
        bool(Batched(np.array([1.0, 2.0])) > 1.5)
