"""What is a convention is said in a note and not failed; what an adapter offers beyond the protocol is used."""

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry
from gradverify.types import Case
from tests.bench import NumpyBench, Pair, bench, supported, wrong
from tests.checks.right import RIGHT, B, W, X, affine, affine_back, affine_bench


def measured(check, on):
    return list(supported(registry.check[check].item(on)))


def notes(check, on):
    found = measured(check, on)
    assert not wrong(iter(found))
    return " ".join(n for m in found for n in m.notes)


class Accumulating(Pair):
    """A layer object whose dW and db are added to, with the option to run again on the same object."""

    stored = ("W", "b")

    def __init__(self, traits=frozenset()):
        super().__init__(None, None, traits)
        self.total = {}

    def vjp(self, case):
        out, cache = affine(**case.thawed())

        def pull(upstream):
            for k, g in affine_back(upstream, cache).items():
                self.total[k] = g if k == "x" else self.total.get(k, 0) + g
            return dict(self.total)

        return out, pull


class LastForward(Pair):
    """A layer object with one cache."""

    def __init__(self):
        super().__init__(None, None)
        self.current = None

    def vjp(self, case):
        out, self.current = affine(**case.thawed())
        return out, lambda upstream: affine_back(upstream, self.current)


class Kept(LastForward):
    """The same, driven a second time on the very object of a run."""

    def vjp(self, case):
        mine = LastForward()
        out, pullback = mine.vjp(case)
        pullback.__dict__["owner"] = mine
        return out, pullback

    def again(self, run, case):
        return run.pullback.__dict__["owner"].vjp(case)


class ByTurns(Kept):
    """Wrong in a way of its own when forward ran twice: the gradient of neither."""

    def again(self, run, case):
        owner = run.pullback.__dict__["owner"]
        out, pullback = owner.vjp(case)
        owner.current = (owner.current[0] * 3, owner.current[1] * 3)
        return out, pullback


def layer(adapter):
    return NumpyBench(adapter, Case(name="layer", primals={"x": X, "W": W, "b": B}))


def test_a_view_of_the_upstream_is_noted():
    assert "view of the upstream" in notes("no-aliasing", RIGHT["flatten returns a view"]())


def test_a_pole_is_noted():
    assert "a pole" in notes("finite", RIGHT["square root at its pole"]())


def test_a_loss_that_ignores_its_optional_upstream_is_noted():
    ignoring = bench(
        lambda x: (np.sum(x**2), x),
        lambda u, x: {"x": 2 * x},
        {"x": X},
        upstream=np.ones(()),
        traits=("upstream-optional",),
    )
    assert "ignores its upstream" in notes("linear-in-upstream", ignoring)


def test_without_a_default_an_ignored_upstream_is_measured_as_wrong():
    ignoring = bench(lambda x: (np.sum(x**2), x), lambda u, x: {"x": 2 * x}, {"x": X}, upstream=np.ones(()))
    assert wrong(registry.check["linear-in-upstream"].item(ignoring))


def test_code_that_computes_in_float32_throughout_is_noted():
    low = bench(
        lambda x: (np.float32(2) * x.astype(np.float32), None),
        lambda u, _: {"x": np.float32(2) * u.astype(np.float32)},
        {"x": X},
    )
    assert "computes in float32 throughout" in notes("dtype-preserved", low)


def test_zeros_for_an_integer_primal_are_noted():
    zeros = bench(lambda x, i: (x[i], x), lambda u, x: {"x": 0 * x, "i": np.zeros(2)}, {"x": X, "i": np.array([0, 1])})
    assert "None says that no derivative exists" in notes("integers-get-no-gradient", zeros)


def test_gradients_added_into_the_object_are_noted():
    assert "accumulated (+=)" in notes("second-call-equal", layer(Accumulating()))


def test_gradients_that_add_up_without_an_object_are_measured_as_wrong():
    adapter = Accumulating()
    adapter.stored = ()
    assert wrong(registry.check["second-call-equal"].item(layer(adapter)))


def test_an_object_with_one_cache_is_told_to_run_backward_first():
    assert "cache of its last forward" in notes("two-forwards-before-one-backward", layer(Kept()))


def test_an_object_that_mixes_two_forwards_is_measured_as_wrong():
    assert wrong(registry.check["two-forwards-before-one-backward"].item(layer(ByTurns())))


def test_a_random_spread_is_reported_and_the_output_blamed_with_it():
    rng = np.random.default_rng(0)
    random = bench(lambda x: (x * (m := rng.random(x.shape)), m), lambda u, m: {"x": u * m}, {"x": X})
    (m,) = wrong(registry.check["deterministic"].item(random))
    assert m.facts["spread"] > 0
    assert "so does the output" in m.why


def test_a_right_subset_of_gradients_is_left_alone():
    right = affine_bench()
    right.adapter.vjp_wrt = lambda case, names: right.adapter.vjp(case)
    found = measured("needs-grad-subset", right)
    assert {m.of for m in found} >= {"W: only W asking", "b: only W, b asking"}
    assert not wrong(iter(found))


@pytest.mark.parametrize(
    ("check", "trait"),
    [("upstream-unchanged", "no-upstream"), ("upstream-layouts", "no-upstream"), ("linear-in-upstream", "no-upstream"),
     ("no-aliasing", "engine"), ("same-array-twice", "engine")],
)  # fmt: skip
def test_a_check_has_nothing_to_measure_where_a_trait_says_so(check, trait):
    assert measured(check, affine_bench(traits=(trait,))) == []


def test_the_upstream_of_a_check_is_never_the_users_own():
    seen = []

    def spy(u, cache):
        seen.append(u)
        return affine_back(u, cache)

    spied = affine_bench(spy)
    for entry in registry.check.entries():
        if entry.name != "pullback-matches-oracle":
            measured(entry.name, spied)
    assert seen
    assert not any(np.shares_memory(u, spied.case.upstream) for u in seen)


def test_a_backward_that_raises_for_one_layout_says_which():
    def picky(u, cache):
        np.frombuffer(u)  # NumPy's own complaint, not a refusal in words
        return affine_back(u, cache)

    with pytest.raises(ValueError, match="not C-contiguous") as error:
        measured("upstream-layouts", affine_bench(picky))
    assert "Fortran" in error.value.__notes__[0]


def test_a_mask_drawn_in_memory_order_is_another_mask_and_no_bug():
    import torch

    class Dropout(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mask = (torch.rand_like(x) > 0.4).to(x.dtype)
            return x * ctx.mask

        @staticmethod
        def backward(ctx, g):
            return g * ctx.mask

    found = gv.verify(Dropout, {"x": X}, checks=["primal-layouts"]).findings
    assert {f.verdict.value for f in found if f.check == "primal-layouts"} == {"pass"}


def test_a_forward_that_reads_in_memory_order_draws_nothing_and_is_measured_as_wrong():
    def forward(x, W, b):
        seen = x.ravel(order="K").reshape(x.shape)
        return seen**2, seen

    assert wrong(registry.check["primal-layouts"].item(affine_bench(lambda u, seen: {"x": 2 * u * seen}, forward)))


def test_a_whole_number_as_the_derivative_of_a_number_is_no_narrow_gradient():
    def slope(dout, x):
        return 1 if x > 0 else 0

    report = gv.verify((lambda x: (max(x, 0.0), x), slope), {"x": np.array(0.7)}, upstream=np.array(1.0))
    assert "dtype-preserved" not in {f.check for f in report.findings if f.verdict == "fail"}
