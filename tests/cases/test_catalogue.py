"""The catalogue: every op has points that can tell right from wrong, and a third party can use them."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry
from gradverify.cases import TAGS, cases_of, ops
from gradverify.errors import UsageError
from reference_impl import OPS

CASES = [case for op in ops() for case in cases_of(op)]
by_name = pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])


def relu(z):
    return np.maximum(z, 0), z


def relu_backward(upstream, z):
    return upstream * (z > 0)


def leaky(upstream, z):
    return upstream * np.where(z > 0, 1, 0.1)


def test_every_op_of_the_reference_has_cases_and_no_other():
    assert set(ops()) == set(OPS)


def test_every_op_has_a_point_without_degenerate_settings():
    assert all(cases_of(op, without=TAGS) for op in OPS)


def test_names_are_unique():
    assert len({c.name for c in CASES}) == len(CASES)


@by_name
def test_names_begin_with_the_op_and_tags_are_known(case):
    assert case.name.startswith(f"{case.op}/")
    assert case.tags <= set(TAGS)


@by_name
def test_the_reference_takes_every_case_and_its_gradients_are_finite(case):
    adapter = registry.adapter["reference"].item(case.op)
    out, pullback = adapter.vjp(case)
    gradients = pullback(np.ones_like(out))
    assert np.isfinite(out).all()
    assert all(np.isfinite(g).all() and g.shape == case.primals[k].shape for k, g in gradients.items())


def test_the_same_seed_draws_the_same_points_and_another_seed_others():
    def drawn(seed):
        return [c.primals["X"] for c in cases_of("conv2d", np.random.default_rng(seed))]

    assert all(np.array_equal(a, b) for a, b in zip(drawn(1), drawn(1), strict=True))
    assert not np.array_equal(drawn(1)[0], drawn(2)[0])


def test_a_third_partys_op_is_checked_by_its_name():
    for case in cases_of("relu"):
        gv.verify((relu, relu_backward), case.primals, constants=case.constants, name=case.name).raise_for_failures()


def test_a_wrong_op_is_caught_at_the_points_of_its_name():
    verdicts = [gv.verify((relu, leaky), c.primals, level="quick").verdict for c in cases_of("relu", without=TAGS)]
    assert verdicts == ["fail"]


def test_points_with_a_tag_can_be_left_out():
    assert {c.name for c in cases_of("relu")} - {c.name for c in cases_of("relu", without={"kink"})} == {"relu/at-0"}


def test_an_unknown_op_names_the_nearest():
    with pytest.raises(UsageError, match="no op called 'relo'; did you mean 'relu'"):
        cases_of("relo")


def test_an_unknown_tag_names_the_nearest():
    with pytest.raises(UsageError, match="no tag called 'kinks'; did you mean 'kink'"):
        cases_of("relu", without={"kinks"})


def test_labels_include_the_first_and_the_last_class():
    labels = {int(v) for c in cases_of("softmax_cross_entropy", without=TAGS) for v in np.ravel(c.constants["y"])}
    assert {0, 3} <= labels


@pytest.mark.parametrize(
    "op", [op for op in OPS if {"X", "A"} & set(OPS[op].primals) and "gamma" not in OPS[op].primals]
)
def test_no_point_without_degenerate_settings_is_square(op):
    matrices = [v for c in cases_of(op, without=TAGS) for k, v in c.primals.items() if v.ndim == 2 and k != "Wh"]
    assert all(m.shape[0] != m.shape[1] for m in matrices)


def test_gamma_is_never_one():
    gammas = [c.primals["gamma"] for op in ("batch_norm", "layer_norm", "batch_norm_eval") for c in cases_of(op)]
    assert not any((g == 1).any() for g in gammas)
