"""Every invariant catches the bug that it is for, shrinks it, and leaves right implementations alone."""

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry, strategies
from gradverify.bench import LiveBench
from gradverify.cases import cases_of, ops
from gradverify.conformance import ask_invariant, check_invariants
from gradverify.conformance.target import Driven
from gradverify.errors import UsageError
from gradverify.judge import judge
from gradverify.types import Verdict
from tests.invariants.planted import PLANTED, RIGHT

NAMES = list(registry.invariant)


def failing(report):
    return [f for f in report.findings if f.verdict is Verdict.FAIL]


@pytest.fixture(scope="module")
def caught():
    """What the search says about every planted bug."""
    return {
        name: check_invariants(bug, invariants=[name], ops=[bug.op], max_examples=30, seed=1)
        for name, bug in PLANTED.items()
    }


def test_every_invariant_has_a_planted_bug():
    assert set(PLANTED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_invariant_catches_the_bug_that_it_is_for(caught, name):
    assert failing(caught[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_shown_as_code_that_fails_when_it_is_run(caught, name):
    code = failing(caught[name])[0].facts["code"]
    namespace = {}
    exec(code, namespace)
    found = ask_invariant(PLANTED[name], namespace["case"], name, seed=1)
    assert Verdict.FAIL in {f.verdict for f in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_shrinks_to_small_arrays(caught, name):
    namespace = {}
    exec(failing(caught[name])[0].facts["code"], namespace)
    assert max(v.size for v in namespace["case"].primals.values()) <= 4


def test_a_wrong_network_shrinks_to_one_layer_and_one_sample(caught):
    namespace = {}
    exec(failing(caught["composition"])[0].facts["code"], namespace)
    shapes = {k: v.shape for k, v in namespace["case"].primals.items()}
    assert shapes["X"] == (1, 1)
    assert "W2" not in shapes


def test_a_failure_says_how_to_ask_again(caught):
    assert "check_invariants(" in failing(caught["rank-of-dw"])[0].repeat


@pytest.mark.parametrize("seed", [0, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_the_reference_keeps_every_invariant(dtype, seed):
    report = check_invariants(RIGHT, max_examples=3 if seed == 0 else 25, dtype=dtype, seed=seed)
    assert not failing(report), str(report)
    assert {f.check for f in report.findings if f.verdict is Verdict.PASS} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "autograd"])
def test_other_backends_keep_every_invariant(backend):
    pytest.importorskip(backend)
    report = check_invariants(f"gradverify.conformance.targets.{backend}:target", max_examples=10)
    assert not failing(report), str(report)


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_keeps_every_invariant_that_applies(name):
    entry, judged = registry.invariant[name], 0
    for op in ops():
        for case in cases_of(op)[:2]:
            if (not entry.meta["ops"] or op in entry.meta["ops"]) and entry.meta["applies"](case):
                found = [judge(m) for m in entry.item(LiveBench(Driven(RIGHT), case))]
                judged += sum(j.verdict is Verdict.PASS for j in found)
                assert not [j.why for j in found if j.verdict is Verdict.FAIL], case.name
    assert judged


@pytest.mark.parametrize("name", NAMES)
def test_an_invariant_names_ops_that_can_be_drawn(name):
    assert set(registry.invariant[name].meta["ops"]) <= {*strategies.ops(), "affine_example"}


@pytest.mark.parametrize("name", NAMES)
def test_an_invariant_says_why_it_holds_and_shows_right_and_wrong(name):
    text = registry.invariant[name].item.__doc__
    assert all(word in text for word in ("Why:", "Right:", "Wrong:"))


def test_a_hand_written_op_is_checked_without_a_target():
    def forward(z):
        return np.maximum(z, 0), z

    right = gv.functions(forward, lambda u, z: {"z": u * (z > 0)})
    wrong = gv.functions(forward, lambda u, z: {"z": u * (z > 0) * z})
    assert check_invariants(right, ops=["relu"], max_examples=5).verdict == "pass"
    assert check_invariants(wrong, ops=["relu"], max_examples=20).verdict == "fail"


def test_an_adapter_of_one_op_must_say_which():
    adapter = gv.functions(lambda z: (z, None), lambda u, _: {"z": u})
    with pytest.raises(UsageError, match="does not say which ops it has"):
        check_invariants(adapter)


def test_an_unknown_op_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match="no strategy for the op 'reulu'"):
        check_invariants(RIGHT, ops=["reulu"])


def test_a_target_that_raises_is_an_error_not_a_pass():
    class Raises:
        name = "raises"

        def supports(self, case):
            return case.op == "tanh"

        def vjp(self, case):
            raise ZeroDivisionError("on purpose")

    report = check_invariants(Raises(), ops=["tanh"], max_examples=2)
    assert report.verdict == "error"
    assert "on purpose" in report.findings[0].why


def test_a_random_gradient_is_caught_though_it_answers_differently_when_asked_again():
    rng = np.random.default_rng(0)
    adapter = gv.functions(lambda z: (np.tanh(z), z), lambda u, z: {"z": u * rng.standard_normal(z.shape)})
    assert check_invariants(adapter, ops=["tanh"], invariants=["loss-scaling"], max_examples=5).verdict == "fail"
