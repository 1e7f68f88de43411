"""gradverify's verdict on every item of the corpus is the true one (see tests/corpus and reports/corpus.md)."""

from __future__ import annotations

import functools
import importlib.util
import zlib

import pytest

from tests.corpus import load
from tests.corpus.__main__ import judge, table

ITEMS = load()

#: every sixth item (and its family's neighbours over the runs of CI) by default; CI runs all of them
SLOW = {
    n for n in ITEMS if zlib.crc32(n.encode()) % 6 or n.startswith(("scenes.a_million_parameters", "scales.big_dot"))
}
NEEDS_TORCH = {n for n in ITEMS if n.startswith(("torchfunctions.", "precisions.torch_"))}

said = functools.cache(lambda name: judge(ITEMS[name]))


def params(names):
    """Items as pytest parameters, the slow and the torch ones marked."""
    without = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
    for name in names:
        marks = [pytest.mark.slow] if name in SLOW else []
        yield pytest.param(name, marks=[*marks, without] if name in NEEDS_TORCH else marks, id=name)


@pytest.mark.parametrize("name", [*params(ITEMS)])
def test_verdict_is_the_true_one(name):
    outcome = said(name)
    assert not outcome.wrong, f"{outcome.wrong}: {ITEMS[name].why}; expected {ITEMS[name].expect}\n{outcome.text}"


@pytest.mark.parametrize("name", [*params(n for n, i in ITEMS.items() if i.causes and i.expect == ("fail",))])
def test_cause_of_a_wrong_twin_is_named(name):
    outcome = said(name)
    assert ITEMS[name].causes & set(outcome.causes), f"{ITEMS[name].why}; said {outcome.causes}\n{outcome.text}"


def test_score_table_counts_every_item_once():
    outcomes = [said(n) for n in ("elementwise.exp", "elementwise.exp~power-rule")]
    assert "| all | 1 | 1 | 0 | 0 | 0 | 0 | 0 |" in table(outcomes, "pytest")
