"""Counting in blocks: nothing depends on where a block ends."""

import numpy as np
import pytest

from gradverify import tally
from gradverify.judge import as_judged, judge
from gradverify.tally import Columns, flattened, largest, outside
from gradverify.types import Estimate, Measurement, Verdict

RNG = np.random.default_rng(0)


@pytest.fixture
def short(monkeypatch):
    """Blocks of seven entries."""
    monkeypatch.setattr(tally, "blocks", lambda n: [slice(i, min(i + 7, n)) for i in range(0, n, 7)])
    monkeypatch.setattr("gradverify.judge.blocks", tally.blocks)


def measured(n=50, wrong=(), unknown=(), **more):
    want = RNG.standard_normal(n)
    got, error = want.copy(), np.full(n, 1e-12)
    got[list(wrong)] += 1.0
    error[list(unknown)] = np.nan
    return Measurement(of="g", got=got, want=Estimate(value=want, error=error), rounding=1e-12, **more)


@pytest.mark.parametrize("wrong", [(), (0,), (49,), (6, 7), tuple(range(50))])
@pytest.mark.parametrize("unknown", [(), (3, 20)])
def test_a_judgement_does_not_depend_on_the_blocks(monkeypatch, wrong, unknown):
    m = measured(wrong=wrong, unknown=unknown)
    whole = judge(m)
    monkeypatch.setattr("gradverify.judge.blocks", lambda n: [slice(i, min(i + 7, n)) for i in range(0, n, 7)])
    assert repr(judge(m)) == repr(whole)  # NaN is not equal to itself


def test_the_worst_entry_is_found_in_whatever_block_it_lies(short):
    m = measured(wrong=(5, 30))
    m.got[30] += 5
    said = judge(m)
    assert (said.verdict, said.index, said.n_wrong) == (Verdict.FAIL, (30,), 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_number_that_is_not_finite_in_the_last_block_fails(short, bad):
    m = measured()
    m.got[49] = bad
    assert judge(m).verdict is Verdict.FAIL
    assert outside(Columns.of(m.got, m.want.value, m.want.error, m.rounding)).tolist() == [False] * 49 + [True]


def test_another_gradient_is_judged_as_the_one_in_its_place(short):
    m = measured()
    would = as_judged(m)
    assert would(m.got)
    assert not would(-m.got)
    assert not would(np.where(np.arange(50) == 49, np.nan, m.got))
    assert would(m.got) == (judge(m).verdict is Verdict.PASS)


def test_one_number_for_all_entries_is_not_copied():
    whole = flattened(np.broadcast_to(np.float64(2.5), (1000, 1000)), (1000, 1000))
    assert (whole.shape, whole.strides) == ((1_000_000,), (0,))
    assert whole[-1] == 2.5


def test_numbers_for_a_row_reach_every_row():
    assert flattened(np.array([1.0, 2.0]), (3, 2)).tolist() == [1, 2, 1, 2, 1, 2]


def test_what_lies_between_the_one_sided_derivatives_is_not_outside(short):
    got, want = np.full(10, 0.5), np.zeros(10)
    lower, upper = np.zeros(10), np.ones(10)
    assert not outside(Columns.of(got, want, np.zeros(10), 0.0, lower, upper)).any()
    assert outside(Columns.of(got + 1, want, np.zeros(10), 0.0, lower, upper)).all()


def test_the_largest_magnitude_leaves_out_what_is_not_finite(short):
    assert largest(np.array([1.0, -3.0, np.inf, np.nan] * 5)) == 3.0
    assert largest(np.zeros(0)) == 0.0
