"""Every mutant is caught by the check that it names, on an implementation that this check leaves alone."""

import numpy as np
import pytest

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.judge import judge
from gradverify.types import Case, Verdict
from tests.bench import NumpyBench, lively, wrong
from tests.checks.right import NETWORK, RIGHT, B, X

CONTRACT = [e for e in registry.mutant.entries() if e.meta["kind"] == "contract"]
GRADIENT = [e for e in registry.mutant.entries() if e.meta["kind"] == "gradient"]
ORACLE = "pullback-matches-oracle"

#: where a mutant of this check shows; elsewhere the affine layer does
SCENE = {
    "constant-overwritten": "network",
    "telling-settings": "ridge without a penalty",
    "train-and-eval": "batch norm in train mode",
    "integers-get-no-gradient": "embedding",
    "no-aliasing": "affine",
    "larger-batch": "affine, one sample",
    "same-array-twice": "add returns the upstream twice",
}
CASE = Case(name="m", primals={**NETWORK, "S": X[:4], "c": np.ones((3, 1))}, constants={"x": X, "y": np.arange(5)})


BENCHES = {"numpy": NumpyBench, "live": LiveBench}
#: checks that judge a value elsewhere by the oracles, which the small bench of the tests has not
LIVE = frozenset(e.name for e in registry.check.entries() if e.meta.get("elsewhere"))


@pytest.mark.parametrize("mutant", [e for e in CONTRACT if e.meta["caught_by"] != ORACLE], ids=lambda e: e.name)
@pytest.mark.parametrize("bench", BENCHES)
def test_the_check_named_by_a_contract_mutant_catches_it(mutant, bench):
    check = registry.check[mutant.meta["caught_by"]]
    right = RIGHT[SCENE.get(mutant.name, SCENE.get(check.name, "affine"))]()
    adapter = mutant.item(right.adapter)
    kind = lively if check.name in LIVE else BENCHES[bench]
    assert wrong(check.item(kind(adapter, right.case)))


@pytest.mark.parametrize("check", [n for n in registry.check if n != ORACLE])
def test_a_check_has_a_mutant_that_it_catches(check):
    assert any(e.meta["caught_by"] == check for e in registry.mutant.entries())


def test_there_are_enough_mutants():
    assert len(registry.mutant) >= 25


@pytest.mark.parametrize("mutant", GRADIENT, ids=lambda e: e.name)
def test_a_gradient_mutant_changes_something_at_a_point_that_can_tell(mutant):
    upstream = np.random.default_rng(3).uniform(0.5, 2, (5, 6))
    rng = np.random.default_rng(4)
    got = {k: rng.standard_normal(v.shape) for k, v in CASE.primals.items()}
    got.update(x=rng.standard_normal(X.shape), like=rng.standard_normal((5, 6)), b3=rng.standard_normal(B.shape))
    case = Case(name="m", primals={**CASE.primals, "x": X, "like": upstream, "b3": B}, constants=CASE.constants)
    new = mutant.item(case, upstream, got)
    assert new is not None
    assert any(np.shape(new[k]) != got[k].shape or not np.array_equal(new[k], got[k]) for k in got)


@pytest.mark.parametrize("mutant", GRADIENT, ids=lambda e: e.name)
def test_a_gradient_mutant_does_not_write_into_what_it_is_given(mutant):
    upstream = np.random.default_rng(3).uniform(0.5, 2, (5, 6))
    got = {k: np.random.default_rng(4).standard_normal(v.shape) for k, v in CASE.primals.items()}
    before = {k: g.copy() for k, g in got.items()}
    mutant.item(CASE, upstream, got)
    assert all(np.array_equal(got[k], before[k]) for k in got)


@pytest.mark.parametrize("mutant", GRADIENT, ids=lambda e: e.name)
def test_a_gradient_mutant_is_a_function_of_its_arguments_alone(mutant):
    upstream = np.ones((5, 6))
    got = {k: np.random.default_rng(4).standard_normal(v.shape) for k, v in CASE.primals.items()}
    one, two = mutant.item(CASE, upstream, got), mutant.item(CASE, upstream, got)
    assert one is two is None or all(np.array_equal(one[k], two[k]) for k in one)


def test_at_a_batch_of_one_the_mean_cannot_be_told_from_the_sum():
    case = Case(name="m", primals={"x": X[:1], "W": X}, constants={"y": np.array([0])})
    got = {"x": X[:1]}
    assert np.array_equal(registry.mutant["batch-mean-missing"].item(case, np.ones((1, 5)), got)["x"], got["x"])


def test_at_a_symmetric_gradient_the_transpose_cannot_be_seen():
    square = X[:4] + X[:4].T
    case = Case(name="m", primals={"W": square})
    assert np.array_equal(registry.mutant["transposed"].item(case, np.ones(()), {"W": square})["W"], square)


@pytest.mark.parametrize("mutant", registry.mutant.entries(), ids=lambda e: e.name)
def test_a_mutant_names_a_cause_that_exists(mutant):
    assert mutant.meta["causes"] in list(registry.cause)


@pytest.mark.parametrize("mutant", [e for e in CONTRACT if e.meta["caught_by"] == ORACLE], ids=lambda e: e.name)
def test_the_oracle_catches_a_contract_mutant_that_is_wrong_at_once(mutant):
    right = RIGHT["affine"]()
    bench = LiveBench(mutant.item(right.adapter), right.case)
    assert Verdict.FAIL in {judge(m).verdict for m in registry.check[ORACLE].item(bench)}
