"""What is asked, in which order, what is skipped because of what, and that a run is a function of its seed."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry, runner
from gradverify.errors import GradientFailure, Unsupported, UsageError
from gradverify.runner import VALUE, choose
from gradverify.types import Estimate, Measurement, Verdict

RNG = np.random.default_rng(7)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((2, 3))


def forward(x, W):
    z = x @ W.T
    return np.tanh(z), (x, W, z)


def backward(upstream, cache):
    x, W, z = cache
    delta = upstream * (1 - np.tanh(z) ** 2)
    return {"x": delta @ W, "W": delta.T @ x}


def halved(upstream, cache):
    return {**backward(upstream, cache), "W": 0.5 * backward(upstream, cache)["W"]}


def verify(subject=(forward, backward), primals=None, **more):
    return gv.verify(subject, primals or {"x": X, "W": W}, **{"level": "quick", **more})


def rows(report, check=VALUE):
    return [f for f in report.findings if f.check == check]


def timeless(finding):
    return {k: v for k, v in asdict(finding).items() if k != "seconds"}


# what is asked ---


def test_each_level_asks_what_the_one_before_asks_and_more():
    quick, standard, thorough = ({e.name for e in choose(None, level)} for level in runner.LEVELS)
    assert quick < standard < thorough


def test_the_shape_is_looked_at_first_and_then_the_value():
    assert [e.name for e in choose(None, "standard")][:2] == ["shape", VALUE]


@pytest.mark.parametrize("level", runner.LEVELS)
def test_what_a_check_requires_is_asked_before_it(level):
    names = [e.name for e in choose(None, level)]
    for entry in choose(None, level):
        for needed in entry.meta.get("requires", ()):
            assert names.index(needed) < names.index(entry.name)


def test_a_check_asked_for_by_name_brings_what_it_requires_and_nothing_else():
    names = [e.name for e in choose(("two-forwards-before-one-backward",), "quick")]
    assert names[-1] == "two-forwards-before-one-backward"
    needed = {"shape", "upstream-unchanged", "deterministic", "second-call-equal"}
    assert set(names) == {*needed, "two-forwards-before-one-backward"}


def test_an_invariant_is_asked_for_by_name_like_a_check():
    report = verify(checks=["batch-additivity"])
    assert rows(report, "batch-additivity")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"checks": ["pullback-matches-orcale"]}, "did you mean 'pullback-matches-oracle'"),
        ({"level": "standart"}, "the levels are quick, standard, thorough"),
        ({"oracles": ["finite-diferences"]}, "did you mean 'finite-differences'"),
        ({"wrt": ["w"]}, "wrt names 'w'"),
        ({"tolerance": -1.0}, "not negative"),
        ({"surrogate": " "}, "says nothing"),
        ({"surrogate": 3}, "give the function whose derivative"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_what_does_not_exist_is_a_usage_error_that_names_the_nearest(call, said):
    with pytest.raises(UsageError, match=said):
        verify(**call)


def test_only_the_oracles_that_are_named_are_consulted():
    for name in ("finite-differences", "torch-autograd", "complex-step"):
        if name == "torch-autograd":
            pytest.importorskip("torch")
        assert {f.oracle for f in rows(verify(checks=[VALUE], oracles=[name]))} == {name}


# what is found ---


def test_a_right_gradient_passes_every_check_of_every_level():
    assert verify(level="thorough").verdict == "pass"


def test_a_wrong_gradient_fails_at_the_primal_that_is_wrong():
    found = {f.facts["primal"]: f.verdict for f in rows(verify((forward, halved)))}
    assert found == {"x": "pass", "W": "fail"}


def test_wrt_leaves_the_other_primals_unjudged():
    report = verify((forward, halved), wrt="x")
    assert {f.facts["primal"] for f in rows(report)} == {"x"}
    assert report.verdict == "pass"


@pytest.mark.parametrize(("tolerance", "verdict"), [(1e-3, "pass"), (1e-5, "fail"), (0.0, "fail")])
def test_a_tolerance_takes_the_place_of_the_derived_budget(tolerance, verdict):
    def near(upstream, cache):
        return {k: g * (1 + 1e-4) for k, g in backward(upstream, cache).items()}

    assert verify((forward, near), checks=[VALUE], tolerance=tolerance).verdict == verdict


def test_a_check_whose_requirement_failed_is_skipped_because_of_it():
    def summed(upstream, cache):
        return {"x": np.sum(backward(upstream, cache)["x"], axis=0), "W": backward(upstream, cache)["W"]}

    report = verify((forward, summed), level="standard")
    assert {f.verdict for f in rows(report, "shape")} >= {Verdict.FAIL}
    [skipped] = rows(report, "linear-in-upstream")
    assert skipped.verdict is Verdict.SKIPPED
    assert skipped.why == "because shape failed"


def test_a_skip_is_handed_on_to_what_requires_the_skipped():
    def changes(upstream, cache):
        upstream *= 0.5
        return {k: 2 * g for k, g in backward(upstream, cache).items()}

    report = verify((forward, changes), level="standard")
    [skipped] = rows(report, "two-forwards-before-one-backward")
    assert skipped.verdict is Verdict.SKIPPED
    assert skipped.why.startswith("because ")


@pytest.fixture
def crashing():
    @registry.check("crashes")
    def crashes(bench):
        """A check with a bug of its own."""
        yield Measurement(of="before", got=np.ones(1), want=Estimate(value=np.ones(1), error=0.0))
        raise KeyError("no such key")

    yield "crashes"
    del registry.check._entries["crashes"]


def test_a_check_that_crashes_is_an_error_and_does_not_take_the_run_with_it(crashing):
    report = verify(checks=[crashing, VALUE])
    before, crash = rows(report, crashing)
    assert before.verdict is Verdict.PASS
    assert crash.verdict is Verdict.ERROR
    assert "KeyError" in crash.why
    assert "the check itself failed" in crash.why
    assert {f.verdict for f in rows(report)} == {Verdict.PASS}
    assert report.verdict == "error"


# a run is a function of its seed ---


def test_the_same_seed_finds_the_same_twice():
    first, second = (verify((forward, halved), level="standard", seed=3).findings for _ in range(2))
    assert [timeless(f) for f in first] == [timeless(f) for f in second]


def test_another_seed_draws_another_upstream():
    first, second = (rows(verify((forward, halved), seed=s))[-1].got for s in (0, 1))
    assert first != second


def test_what_other_checks_are_asked_changes_nothing():
    alone, among = ([timeless(f) for f in rows(verify((forward, halved), seed=2, checks=c))] for c in ([VALUE], None))
    for a, b in zip(alone, among, strict=True):
        assert {**a, "evaluations": 0} == {**b, "evaluations": 0}


def test_findings_are_plain_python():
    for f in verify((forward, halved), level="standard").findings:
        assert json.loads(json.dumps(asdict(f)))["check"] == f.check


def test_a_failure_says_how_to_repeat_it():
    failed = [f for f in verify((forward, halved), seed=5).findings if f.verdict == "fail"]
    assert failed
    assert all("seed=5" in f.repeat and f.check in f.repeat for f in failed)


# code that is not a function ---


def noisy(rng):
    def noisy_forward(x):
        return x * (rng.random(x.shape) < 0.5), x

    return noisy_forward


def test_a_forward_that_is_not_a_function_is_inconclusive_with_the_reason_and_the_cause():
    report = verify((noisy(np.random.default_rng()), lambda u, x: {"x": u}), {"x": X})
    assert report.verdict == "inconclusive"
    [found] = [f for f in rows(report) if f.verdict is Verdict.INCONCLUSIVE]
    assert "not a function" in found.why
    assert "pass the random mask as a constant" in found.why
    assert report.causes == ["nondeterministic"]
    assert not [f for f in report.findings if f.verdict == "fail"]


def test_a_mask_that_is_a_constant_is_a_function():
    report = verify(
        (lambda x, mask: (x * mask, mask), lambda u, mask: {"x": u * mask}), {"x": X}, constants={"mask": X > 0}
    )
    assert report.verdict == "pass"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.5, "fail")])
def test_noise_far_below_the_value_is_judged_to_its_size(factor, verdict):
    rng = np.random.default_rng(0)
    report = verify(
        (lambda x: (np.sin(x) + 1e-9 * rng.standard_normal(x.shape), x), lambda u, x: {"x": factor * u * np.cos(x)}),
        {"x": X}, checks=[VALUE],
    )  # fmt: skip
    assert report.verdict == verdict


# points that cannot tell ---


def quadratic(x, W):
    return x @ W @ x, (x, W)


def transposed(upstream, cache):
    x, W = cache
    return {"x": upstream * 2 * W @ x, "W": upstream * np.outer(x, x)}


def right(upstream, cache):
    x, W = cache
    return {"x": upstream * (W + W.T) @ x, "W": upstream * np.outer(x, x)}


SYMMETRIC = {"x": np.array([0.5, -1.0, 2.0]), "W": np.array([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 3.0]])}


def test_a_symmetric_matrix_hides_a_transposed_gradient_until_a_point_beside_it_tells():
    def linear(x, W):
        return W @ x, (x, W)

    def hidden(upstream, cache):
        x, W = cache
        return {"x": W @ upstream, "W": np.outer(upstream, x)}

    report = verify((linear, hidden), {"x": SYMMETRIC["x"], "W": np.array([[2.0, 1, 0], [1, -3, 1], [0, 1, 1]])})
    failed = [f for f in rows(report) if f.verdict == "fail"]
    assert [f.of for f in failed] == ["gradient of x"]
    assert failed[0].case == "given~1"
    assert any("W is symmetric" in note for note in failed[0].notes)
    assert {f.verdict for f in rows(report) if f.case == "given"} == {Verdict.PASS}


def test_a_right_gradient_passes_at_the_points_beside_too():
    report = verify((quadratic, right), SYMMETRIC)
    assert report.verdict == "pass"
    assert {f.case for f in rows(report)} == {"given", "given~1"}


def test_at_a_generic_point_no_other_is_drawn():
    assert {f.case for f in rows(verify())} == {"given"}


def test_the_thorough_level_draws_more_points_beside():
    report = verify((quadratic, right), SYMMETRIC, level="thorough", checks=[VALUE])
    assert {f.case for f in rows(report)} == {"given", "given~1", "given~2", "given~3"}


def test_a_point_beside_that_is_outside_the_domain_is_left_out():
    def only_ones(x):
        if not np.all(x == 1.0):
            raise ValueError("ones, please")
        return x.sum(), x

    report = verify((only_ones, lambda u, x: {"x": u * np.ones_like(x)}), {"x": np.ones(3)}, checks=[VALUE])
    assert {f.case for f in rows(report)} == {"given"}


def test_what_a_pass_could_not_have_seen_is_named():
    report = verify((lambda x: (x.sum(axis=1), x), lambda u, x: {"x": np.repeat(u[:, None], 3, 1)}), {"x": X[:1]})
    [found] = [f for f in rows(report) if f.case == "given"]
    assert found.blind_spots


# surrogates ---


def rounded(x):
    return np.round(x), x


def straight(upstream, x):
    return {"x": upstream}


def test_a_straight_through_estimator_fails_as_a_derivative():
    assert verify((rounded, straight), {"x": X}, checks=[VALUE]).verdict == "fail"


@pytest.mark.parametrize(("surrogate", "verdict"), [(lambda x: x, "pass"), (lambda x: 2 * x, "fail")])
def test_a_surrogate_function_is_judged_against(surrogate, verdict):
    assert verify((rounded, straight), {"x": X}, checks=[VALUE], surrogate=surrogate).verdict == verdict


def test_a_sentence_leaves_the_value_unjudged_and_is_in_the_report():
    report = verify((rounded, straight), {"x": X}, surrogate="straight-through, Bengio 2013")
    [found] = rows(report)
    assert found.verdict is Verdict.SKIPPED
    assert "straight-through, Bengio 2013" in found.why
    assert {f.verdict for f in rows(report, "shape")} == {Verdict.PASS}


def test_nothing_judged_is_not_a_pass():
    report = verify((rounded, straight), {"x": X}, checks=[VALUE], surrogate="straight-through, Bengio 2013")
    assert report.verdict == "inconclusive"


def test_a_value_that_nobody_could_judge_is_no_pass_though_the_contract_is_kept(monkeypatch):
    def declines(bench):
        raise Unsupported("nobody knows here")
        yield

    entry = registry.check[VALUE]
    monkeypatch.setitem(registry.check._entries, VALUE, replace(entry, item=declines))
    report = verify((rounded, straight), {"x": X})
    assert report.verdict == "inconclusive"
    with pytest.raises(GradientFailure, match="nobody knows here"):
        report.raise_for_failures()


def test_a_forward_that_is_no_function_is_no_pass():
    draw = np.random.default_rng()

    def noisy(x):
        return x + draw.standard_normal(x.shape), x

    report = verify((noisy, lambda u, x: u), {"x": X})
    assert report.verdict == "inconclusive"
    with pytest.raises(GradientFailure, match="not a function"):
        report.raise_for_failures()


# big problems, asked along directions ---

BIG = {"x": RNG.standard_normal((3, 200)), "W": RNG.standard_normal((150, 200)) / 14}


@pytest.fixture
def dear(monkeypatch):
    """A forward whose every entry is beyond the time of any level."""
    monkeypatch.setattr("gradverify.sampling.Forward.cost", lambda self: 1.0)


def relu_layer(x, W):
    z = x @ W.T
    return np.maximum(z, 0), (x, W, z)


def relu_back(upstream, cache):
    x, W, z = cache
    delta = upstream * (z > 0)
    return {"x": delta @ W, "W": delta.T @ x}


@pytest.mark.parametrize("subject", [(forward, backward), (relu_layer, relu_back)], ids=["tanh", "relu"])
def test_a_big_right_gradient_passes_in_tens_of_forwards_and_states_what_it_would_have_seen(dear, subject):
    report = verify(subject, BIG, checks=[VALUE], oracles=["finite-differences"])
    assert report.verdict == "pass"
    found = rows(report)
    assert sum(f.evaluations for f in found) <= 100
    assert all(f.facts["entries"] == 30600 for f in found)
    assert any("would have been seen" in n for f in found for n in f.notes)


@pytest.mark.parametrize("subject", [(forward, backward), (relu_layer, relu_back)], ids=["tanh", "relu"])
def test_one_wrong_entry_of_a_big_gradient_is_found_and_named(dear, subject):
    def one_wrong(upstream, cache):
        g = subject[1](upstream, cache)
        g["W"][17, 101] += 0.01
        return g

    report = verify((subject[0], one_wrong), BIG, checks=[VALUE], oracles=["finite-differences"])
    assert report.verdict == "fail"
    named = [f for f in rows(report) if f.facts.get("primal") == "W" and f.verdict == "fail"]
    assert named[0].index == (17, 101)


def test_a_big_kinked_gradient_with_everything_at_the_kink_is_no_false_alarm(dear):
    zeros = {"x": BIG["x"], "W": np.zeros_like(BIG["W"])}
    report = verify((relu_layer, relu_back), zeros, checks=[VALUE], oracles=["finite-differences"])
    assert not [f for f in rows(report) if f.verdict == "fail" and f.case == "given"]


def test_two_kernels_a_rounding_of_float16_apart_are_one_function():
    torch = pytest.importorskip("torch")

    def forward(x):
        y = torch.tanh(x)
        return y if torch.is_grad_enabled() else y * (1 + 2.0**-10)  # as an LSTM has one for inference

    report = gv.verify(forward, {"x": torch.randn(4, 5, generator=torch.Generator().manual_seed(0))}, dtype="float16")
    assert report.verdict == "pass"
