"""``gradverify power``: a bug is planted, the judge is asked, and what it could not see is said."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry
from gradverify.studies import power
from gradverify.studies._power_scenes import SCENES, block
from gradverify.types import rng_for


def mutant(name):
    return registry.mutant[name].item


@pytest.mark.parametrize("size", ["tiny", "small"])
def test_the_block_that_bugs_are_planted_into_is_right(size):
    adapter, case = block(size, 0)
    gv.verify(adapter, case.primals, level="quick").raise_for_failures()


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s.__name__.strip("_"))
def test_no_check_fails_at_a_scene_without_a_bug(scene):
    adapter, case = scene(rng_for(0, "power", "scene"))
    assert [c for c in registry.check if power._fails(c, adapter, case, 0)] == []


@pytest.mark.parametrize("oracle", power.ORACLES)
def test_every_oracle_sees_a_doubled_gradient_and_lets_the_right_one_pass(oracle):
    adapter, case = block("small", 0)
    assert power.judged(adapter, case, oracle, 0) == "pass"
    assert power._seen(mutant("doubled"), oracle, "small", 0) == "seen"


def test_a_missing_batch_mean_is_nothing_at_a_batch_of_one():
    assert power._seen(mutant("batch-mean-missing"), "reference", "tiny", 0) == "same"
    assert power._seen(mutant("batch-mean-missing"), "reference", "small", 0) == "seen"


def test_a_transposed_gradient_keeps_its_shape_only_where_the_layer_is_square():
    assert power._seen(mutant("transposed"), "torch-autograd", "small", 0) == "same"
    assert power._seen(mutant("transposed"), "torch-autograd", "square", 0) == "seen"


@pytest.mark.parametrize(
    "name", ["accumulating", "constant-overwritten", "integers-get-gradients", "keyed-by-identity"]
)
def test_a_bug_of_the_contract_is_seen_at_the_scene_that_shows_it(name):
    row = power._contract_row(registry.mutant[name], 0)
    assert row["caught"]
    assert row["named"] in row["seen_by"].split(", ")


def test_the_smallest_error_seen_is_seen_and_a_hundredth_of_it_is_not():
    adapter, case = block("small", 0)
    smallest = power._smallest(adapter, case, "reference", power._all_entries, 0)
    assert 1e-14 <= smallest <= 1e-11
    assert not np.isnan(power._smallest(adapter, case, "finite-differences", power._one_entry, 0))


def test_an_oracle_that_does_not_answer_has_no_smallest_error():
    adapter, case = registry.adapter["reference"].item("relu"), None
    from gradverify.types import Case

    case = Case(name="relu", primals={"z": np.array([0.5, -0.5])})
    assert np.isnan(power._smallest(adapter, case, "complex-step", power._all_entries, 0))


@pytest.fixture
def few(monkeypatch):
    keep = [registry.mutant[n] for n in ("doubled", "accumulating")]
    monkeypatch.setattr(registry.mutant, "entries", lambda: keep)
    monkeypatch.setattr(power, "ORACLES", ("reference",))


def test_the_command_writes_its_files_and_says_how(run, here, few):
    status, out, _ = run("power", "--sizes", "tiny,small", "--seed", "1")
    assert status == 0
    assert "small: 1 of 1 gradient bugs seen, 0 missed" in out
    assert "contract: 1 of 1 bugs caught" in out
    for name in ("power.md", "power.csv"):
        assert "gradverify power --sizes tiny,small --seed 1" in (here / "reports" / name).read_text()
    lines = [s for s in (here / "reports" / "power.csv").read_text().splitlines() if not s.startswith("#")]
    assert {r["table"] for r in csv.DictReader(lines)} == {"gradient", "contract", "smallest"}


def test_a_bug_that_escapes_its_check_is_exit_status_1(run, few, monkeypatch):
    monkeypatch.setattr(power, "SCENES", ())
    status, out, _ = run("power", "--sizes", "tiny")
    assert status == 1
    assert "missed: accumulating" in out


def test_an_unknown_size_names_the_nearest(run):
    status, _, err = run("power", "--sizes", "smal")
    assert status == 2
    assert "no size is called 'smal'; did you mean 'small'?" in err
