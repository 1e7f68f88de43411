"""The promise of finite differences on thousands of closed forms; ``gradverify calibration`` writes the table."""

import csv

import numpy as np
import pytest

import gradverify as gv
from gradverify import cli
from gradverify.studies import calibration
from gradverify.studies._calibration_families import FAMILIES, FIELDS
from gradverify.studies.calibration import PROMISED, RATIO, Triple, coverage, median_ratio, table, triples


@pytest.fixture(scope="module")
def some():
    return triples(part=0.06, seed=1)


@pytest.fixture
def few(monkeypatch):
    """A few families are enough where not the numbers are looked at but what is made of them."""
    monkeypatch.setattr(calibration, "FAMILIES", FAMILIES[:3])
    monkeypatch.setattr(calibration, "FIELDS", FIELDS[:1])


@pytest.mark.slow
def test_claimed_errors_cover_the_true_ones_on_thousands_of_triples():
    found = triples(seed=0)
    assert len(found) >= 5000
    assert sum(t.known for t in found) >= 5000
    assert coverage(found) >= PROMISED == 0.999
    assert median_ratio(found) <= RATIO == 100


def test_claimed_errors_cover_the_true_ones_on_hundreds_of_triples(some):
    assert len(some) >= 600
    assert sum(not t.covered for t in some) <= 1
    assert median_ratio(some) <= 100


def test_every_family_is_asked_alone_and_in_arrays_and_every_field_along_directions(some):
    rows = {(r["family"], r["asked"]) for r in table(some)}
    assert {f for f, asked in rows if asked == "alone"} == {f.name for f in FAMILIES}
    assert {f for f, asked in rows if asked.startswith("in arrays")} == {f.name for f in FAMILIES}
    assert {f for f, asked in rows if asked == "along a direction"} == {f.name for f in FIELDS}


def test_the_kinds_of_the_promise_are_all_there():
    wanted = {
        "smooth",
        "stiff",
        "oscillating",
        "noisy",
        "kinked",
        "near-kinked",
        "huge",
        "tiny",
        "shifted",
        "deep",
        "edge",
    }
    assert wanted <= {f.kind for f in FAMILIES}


def test_a_kink_is_claimed_as_an_interval_that_holds_both_derivatives(some):
    kinked = [t for t in some if t.kind == "kinked"]
    assert all(t.kink and t.covered for t in kinked)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.kind != "noisy"], ids=lambda f: f.name)
def test_a_closed_form_is_the_derivative_of_its_function(family):
    """In extended precision by a formula of fourth order, beside the kink where there is one."""
    x, *parameters = family.draw(np.random.default_rng(4), 8)
    x, at = np.asarray(x, np.longdouble), [np.asarray(p, np.longdouble) for p in parameters]
    rate = max(1.0, float(np.max(parameters[0]))) if parameters and "1e4" in family.name else 1.0
    h = np.minimum(np.where(x > 0, x, 1), 1 - np.abs(x) if "arccos" in family.name else 1) * np.longdouble(1e-4) / rate
    if family.kind in ("near-kinked", "edge", "kinked") and at:
        h = np.minimum(h, np.abs(x - at[0]) / 4 + (x == at[0])) if family.kind == "near-kinked" else h
        if family.kind != "near-kinked":  # from the right
            slope = (family.f(x + h, *at) - family.f(x, *at)) / h
            assert np.allclose(slope.astype(float), (family.right or family.df)(x, *at).astype(float), atol=1e-2)
            return
    f = family.f
    slope = (8 * (f(x + h, *at) - f(x - h, *at)) - (f(x + 2 * h, *at) - f(x - 2 * h, *at))) / (12 * h)
    size = np.max(np.abs(family.df(x, *at))) if "1e-9" not in family.name else np.abs(family.df(x, *at))
    assert np.all(np.abs(slope - family.df(x, *at)) <= 1e-5 * size)


def triple(**changes):
    given = {"family": "f", "kind": "smooth", "asked": "alone", "x": 1.0, "truth": 2.0, "truth_right": 2.0}
    given |= {"value": 2.0, "error": 1e-9, "lower": 2.0 - 1e-9, "upper": 2.0 + 1e-9, "kink": False, "samples": 8.0}
    return Triple(**{**given, **changes})


def test_a_claim_that_misses_is_counted_and_one_that_was_not_made_is_not():
    missed = triple(value=3.0, lower=3.0 - 1e-9, upper=3.0 + 1e-9)
    unknown = triple(value=3.0, error=np.inf, lower=-np.inf, upper=np.inf)
    assert coverage([triple(), missed, unknown]) == 0.5
    assert coverage([unknown]) is None


def test_the_command_writes_the_table_with_its_command_versions_and_seed(few, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status = cli.main(["calibration", "--part", "0.02", "--seed", "3"])
    assert "triples: the claimed error covers" in capsys.readouterr().out
    for name in ("calibration.md", "calibration.csv"):
        text = (tmp_path / "reports" / name).read_text()
        assert "gradverify calibration --part 0.02 --seed 3" in text
        assert f"numpy: {np.__version__}" in text
    lines = [s for s in (tmp_path / "reports" / "calibration.csv").read_text().splitlines() if not s.startswith("#")]
    rows = list(csv.DictReader(lines))
    assert {r["family"] for r in rows} == {f.name for f in (*FAMILIES[:3], *FIELDS[:1])}
    report = gv.read(tmp_path / "reports" / "calibration.jsonl")
    assert (status == 0) == (report.findings[0].verdict == "pass")


def test_the_same_seed_asks_the_same_points(few):
    first, second = (triples(part=0.01, seed=5) for _ in range(2))
    assert [t.x for t in first] == [t.x for t in second]
    assert [t.error for t in first] == [t.error for t in second]
