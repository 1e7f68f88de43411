"""The corpus is true: its right gradients are right by other means than gradverify, and its wrong twins differ."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.corpus import _drive as drive
from tests.corpus import load

ITEMS = load()
RIGHT = [i for i in ITEMS.values() if not i.twin]
WRONG = [i for i in ITEMS.values() if i.twin]
TORCH_FREE = {"scenes.a_million_parameters", "scenes.relu_near_kink", "scenes.float32"}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def made(item):
    """(subject, all primals, constants, upstream, gradients of a first backward)."""
    subject, primals, kwargs = item.make()
    primals = {**primals, **drive.parameters(subject)}
    constants = kwargs.get("constants", {})
    given = {k: np.array(v) for k, v in primals.items()}
    out, pullback = drive.forward(subject, given, constants)
    upstream = drive.ones_like(out, np.random.default_rng(7))
    own = {k: u.copy() for k, u in upstream.items()} if isinstance(upstream, dict) else upstream.copy()
    return subject, primals, constants, upstream, pullback(own)


def gap(got, want):
    """The largest difference relative to the largest wanted entry."""
    got, want = np.asarray(got, dtype=np.longdouble), np.asarray(want, dtype=np.longdouble)
    assert got.shape == want.shape
    scale = np.max(np.abs(want), initial=0)
    difference = np.max(np.abs(got - want), initial=0)
    return difference / scale if scale > 0 else difference


@pytest.mark.parametrize("item", [i for i in RIGHT if i.truth in ("fd", "torch")], ids=lambda i: i.name)
def test_right_gradient_equals_differences_of_its_forward(item):
    subject, primals, constants, upstream, got = made(item)
    size = sum(np.asarray(v).size for v in primals.values())
    if size > 5000:
        pytest.skip("compared along directions in the test below")
    low = next((str(np.asarray(v).dtype) for v in primals.values() if np.asarray(v).dtype.kind == "f"), "float64")
    tol = max(item.tol, {"float32": 1e-4, "float16": 5e-3}.get(low, 0), 1e-5 if item.truth == "torch" else 0)
    want = drive.differences(subject, primals, constants, upstream, item.step)
    # a primal whose gradient is zero is compared at the scale of the others
    scale = max((float(np.max(np.abs(w), initial=0)) for w in want.values()), default=0)
    for name, w in want.items():
        if got[name] is None:
            assert np.all(np.abs(w) <= 1e-9 * scale)
            continue
        if np.max(np.abs(w), initial=0) <= 1e-9 * max(scale, 1e-9):
            assert np.max(np.abs(np.asarray(got[name]) - w)) <= 1e-8 * max(scale, 1e-9)
        else:
            assert gap(got[name], w) <= tol, name


@pytest.mark.parametrize("item", [i for i in RIGHT if i.truth == "kink"], ids=lambda i: i.name)
def test_right_gradient_at_a_kink_lies_between_the_one_sided_derivatives(item):
    subject, primals, constants, upstream, got = made(item)
    for name, (low, high) in drive.one_sided(subject, primals, constants, upstream).items():
        slack = 1e-7 * max(1.0, float(np.max(np.abs(high)) + np.max(np.abs(low))))
        g = np.asarray(got[name])
        assert np.all((g >= low - slack) & (g <= high + slack)), name


@pytest.mark.parametrize("item", [i for i in WRONG if i.truth == "kink" and i.differs == "here"], ids=lambda i: i.name)
def test_wrong_gradient_at_a_kink_lies_outside_the_one_sided_derivatives(item):
    subject, primals, constants, upstream, got = made(item)
    outside = False
    for name, (low, high) in drive.one_sided(subject, primals, constants, upstream).items():
        g = np.asarray(got[name])
        outside |= not np.all((g >= low - 1e-4) & (g <= high + 1e-4))
    assert outside


@pytest.mark.parametrize("item", [i for i in RIGHT if callable(i.truth)], ids=lambda i: i.name)
def test_right_gradient_equals_its_closed_form(item):
    _, primals, _, upstream, got = made(item)
    want = item.truth(
        {k: np.asarray(v, dtype=np.longdouble) for k, v in primals.items() if v.dtype.kind == "f"}
        if item.name != "linear.inverse_ill_conditioned"
        else primals,
        upstream,
    )
    for name, w in want.items():
        assert gap(got[name], w) <= item.tol, name


def _exact_grads(item):
    """The gradients of a sigmoid network in 60 digits, by mpmath."""
    import mpmath as mp

    mp.mp.dps = 60
    subject, primals, kwargs = item.make()
    constants = kwargs.get("constants")
    if constants is None:  # the first layer only: everything else is in the closure
        cells = {n: c.cell_contents for n, c in zip(subject.__code__.co_freevars, subject.__closure__, strict=True)}
        params, X, y = cells["params"], cells["X"], cells["y"]
    else:
        params, X, y = primals, constants["X"], constants["y"]
    depth = len(params) // 2
    M = lambda a: mp.matrix(np.atleast_2d(a).tolist())  # noqa: E731 - a local abbreviation
    W = [M(params[f"W{k}"]) for k in range(1, depth + 1)]
    b = [params[f"b{k}"] for k in range(1, depth + 1)]
    n = len(X)
    dW1 = mp.zeros(W[0].rows, W[0].cols)
    for x, t in zip(X, y, strict=True):
        a, acts = mp.matrix(x.tolist()), []
        for Wk, bk in zip(W, b, strict=True):
            acts.append(a)
            z = Wk * a + mp.matrix(bk.tolist())
            a = z.apply(lambda v: 1 / (1 + mp.exp(-v)))
        acts.append(a)
        delta = mp.matrix([(a[i] - mp.mpf(t[i])) / n * a[i] * (1 - a[i]) for i in range(len(t))])
        for k in range(depth - 1, 0, -1):
            delta = W[k].T * delta
            delta = mp.matrix([delta[i] * acts[k][i] * (1 - acts[k][i]) for i in range(delta.rows)])
        dW1 += delta * acts[0].T
    return np.array(dW1.tolist(), dtype=float)


@pytest.mark.parametrize(
    "name", ["networks.deep_sigmoid_20", "networks.deep_sigmoid_20_first_only", "scenes.deep_sigmoid"]
)
def test_deep_sigmoid_gradients_equal_sixty_digit_arithmetic(name):
    item = ITEMS[name]
    *_, upstream, got = made(item)
    want = _exact_grads(item)
    assert 0 < np.max(np.abs(want)) < 1e-10
    assert gap(np.asarray(got["W1"]) / upstream, want) <= 1e-9


@pytest.mark.parametrize("name", sorted(TORCH_FREE))
def test_scenes_equal_torch(name):
    torch = pytest.importorskip("torch")
    item = ITEMS[name]
    _, primals, constants, _, got = made(item)
    t = {k: torch.tensor(np.asarray(v, dtype=float), requires_grad=True) for k, v in primals.items()}
    X, y = (torch.tensor(np.asarray(constants[k], dtype=float)) for k in ("X", "y"))
    loss = 0.5 * ((torch.relu(X @ t["W1"] + t["b1"]) @ t["W2"] - y) ** 2).sum() / len(X)
    loss.backward()
    u = drive.ones_like(np.asarray(1.0), np.random.default_rng(7))
    for k in got:
        assert gap(np.asarray(got[k], dtype=float) / u, t[k].grad.numpy()) <= (1e-5 if name.endswith("32") else 1e-10)


def _differ(a, b, tol=1e-5):
    for k in a:
        if (a[k] is None) != (b[k] is None):
            return True
        if a[k] is None:
            continue
        x, y = np.asarray(a[k], dtype=float), np.asarray(b[k], dtype=float)
        if x.shape != y.shape or not np.all(np.isfinite(x)):
            return True
        wrong = np.abs(x - y) > np.maximum(tol * np.abs(y), 1e-13 * np.max(np.abs(y), initial=0))
        if np.any(wrong):
            return True
    return False


@pytest.mark.parametrize("item", [i for i in WRONG if i.differs == "here"], ids=lambda i: i.name)
def test_wrong_twin_differs_at_its_point(item):
    *_, wrong = made(item)
    *_, right = made(ITEMS[item.twin])
    assert _differ(wrong, right)


@pytest.mark.parametrize("item", [i for i in WRONG if i.differs == "nearby"], ids=lambda i: i.name)
def test_wrong_twin_differs_beside_its_point(item):
    def beside(which):
        subject, primals, kwargs = which.make()
        rng = np.random.default_rng(3)
        moved = {k: v + 0.3 * rng.standard_normal(v.shape) for k, v in primals.items()}
        out, pullback = drive.forward(subject, moved, kwargs.get("constants", {}))
        return pullback(drive.ones_like(out, rng))

    assert _differ(beside(item), beside(ITEMS[item.twin]))


def _layouts(u):
    yield np.asfortranarray(u)
    wide = np.zeros((*u.shape[:-1], 2 * u.shape[-1])) if u.ndim else np.zeros(())
    if u.ndim:
        wide[..., ::2] = u
        yield wide[..., ::2]
        yield np.ascontiguousarray(u[::-1])[::-1]


def broken(item):
    """Which rules of the contract of backward this implementation breaks, found without gradverify."""
    subject, primals, kwargs = item.make()
    primals = {k: np.array(v) for k, v in {**primals, **drive.parameters(subject)}.items()}
    constants = kwargs.get("constants", {})
    rng = np.random.default_rng(5)
    rules = set()
    given = {k: v.copy() for k, v in primals.items()}
    out, pull = drive.forward(subject, given, constants)
    rules |= {"primal mutated" for k in given if not np.array_equal(given[k], primals[k])}
    out = out.copy() if isinstance(out, np.ndarray) else out
    u = 3 * drive.ones_like(out, rng)

    def fresh(up, at=None):
        _o, p = drive.forward(subject, {k: v.copy() for k, v in (at or primals).items()}, constants)
        return {k: g for k, g in p(up).items() if g is not None}

    own = u.copy()
    first = {k: g for k, g in pull(own).items() if g is not None}
    if not np.array_equal(own, u):
        rules.add("upstream mutated")
    kept = {k: np.array(g) for k, g in first.items()}
    for k, g in kept.items():
        if g.shape != primals[k].shape:
            rules.add("shape")
        if g.dtype != primals[k].dtype:
            rules.add("dtype")
    if drive.is_torch(subject):
        return rules | _torch_broken(subject, primals, constants, u)
    names = list(first)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if np.shares_memory(first[a], first[b]):
                rules.add("aliased")
    again = {k: np.array(g) for k, g in pull(-2 * u).items() if g is not None}
    if any(not np.array_equal(np.asarray(first[k]), kept[k]) for k in kept):
        rules.add("first result changed by second call")
    if any(not np.allclose(again[k], -2 * kept[k], rtol=1e-9, equal_nan=True) for k in kept):
        rules.add("second call")
    if any(not np.all(np.isfinite(g)) or np.any(g) for g in fresh(np.zeros_like(u)).values()):
        rules.add("zero upstream")
    v = drive.ones_like(out, rng)
    gu, gv, guv = fresh(u.copy()), fresh(v.copy()), fresh(u + v)
    if any(not np.allclose(np.asarray(gu[k]) + gv[k], guv[k], rtol=1e-5, atol=1e-6) for k in kept):
        rules.add("not linear")
    for w in _layouts(u):
        got = fresh(w)
        if any(not np.allclose(got[k], kept[k], rtol=1e-9) for k in kept):
            rules.add("upstream layout")
    at = {k: np.asfortranarray(p) for k, p in primals.items()}
    _, p = drive.forward(subject, at, constants)
    if any(g is not None and not np.allclose(g, kept[k], rtol=1e-9) for k, g in p(u.copy()).items() if k in kept):
        rules.add("primal layout")
    if len(primals) == 2 and len({v.shape for v in primals.values()}) == 1:
        a, b = primals
        one = primals[a].copy()
        _o, p = drive.forward(subject, {a: one, b: one}, constants)
        shared = p(u.copy())
        apart = fresh(u.copy(), {a: one.copy(), b: one.copy()})
        if any(not np.allclose(shared[k], apart[k]) for k in apart):
            rules.add("same array twice")
    return rules


def _torch_broken(subject, primals, constants, u):
    import torch

    rules = set()

    def run(u_tensor, needs=None, twice=False):
        ts = [
            torch.tensor(v, requires_grad=v.dtype.kind == "f" and (needs is None or k in needs))
            for k, v in primals.items()
        ]
        out = subject.apply(*ts, *constants.values())
        if twice:
            other = [torch.tensor(v * 0.5, requires_grad=True) for v in primals.values()]
            subject.apply(*other, *constants.values())
        live = [t for t in ts if t.requires_grad]
        first = torch.autograd.grad(out, live, u_tensor, retain_graph=True, allow_unused=True)
        second = torch.autograd.grad(out, live, u_tensor, allow_unused=True)
        names = [k for k, t in zip(primals, ts, strict=True) if t.requires_grad]
        return dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True))

    plain = torch.tensor(u)
    want, second = run(plain.clone())
    same = lambda a, b: a is not None and b is not None and torch.allclose(a, b)  # noqa: E731 - a local abbreviation
    if not all(same(want[k], second[k]) for k in want):
        rules.add("second call")
    own = plain.clone()
    run(own)
    if not torch.equal(own, plain):
        rules.add("upstream mutated")
    strided = plain.t().contiguous().t()
    try:
        got, _ = run(strided)
        if not all(same(got[k], want[k]) for k in want):
            rules.add("upstream layout")
    except RuntimeError:
        rules.add("upstream layout")
    got, _ = run(plain.clone(), twice=True)
    if not all(same(got[k], want[k]) for k in want):
        rules.add("last forward wins")
    for k in primals:
        got, _ = run(plain.clone(), needs={k})
        if not same(got[k], want[k]):
            rules.add("needs-grad subset")
    return rules


CONTRACT = [i for i in WRONG if i.differs == "contract"]


@pytest.mark.parametrize("item", CONTRACT, ids=lambda i: i.name)
def test_wrong_twin_breaks_a_rule_of_the_contract(item):
    assert broken(item)


@pytest.mark.parametrize("name", sorted({i.twin for i in CONTRACT}))
def test_right_twin_breaks_no_rule_of_the_contract(name):
    if name == "losses.softmax_loss":
        pytest.skip("the twin of forward_changes_its_input in another shape")
    assert not broken(ITEMS[name])


def test_every_wrong_twin_names_a_right_one():
    assert all(i.twin in ITEMS and not ITEMS[i.twin].twin for i in WRONG)


def test_every_truth_that_is_not_computed_has_its_reason():
    for i in ITEMS.values():
        assert callable(i.truth) or i.truth in ("fd", "kink", "torch") or len(i.truth.removeprefix("reason:")) > 5


def test_the_corpus_is_as_large_as_promised():
    assert sum(i.expect == ("pass",) for i in RIGHT) >= 170
    assert len(WRONG) >= 170
