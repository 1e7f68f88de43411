"""The strategies draw what they say: every op, every kind of entry, networks of every architecture."""

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from gradverify import strategies
from gradverify.cases import ops as catalogue
from gradverify.conformance import load_target
from gradverify.errors import UsageError
from gradverify.types import differentiable, leaves

REFERENCE = load_target("gradverify.conformance.targets.reference:target")
quick = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
several = settings(max_examples=100, deadline=None, database=None)
rare = settings(max_examples=3000, deadline=None, database=None)  # enough to meet what one draw in fifty has

#: settings and masks that matter more than numbers, or data whose shapes are fixed: the catalogue's points do
NOT_DRAWN = {"constant", "affine_example", "clip_by_value", "clip_by_norm"}


def test_almost_every_op_of_the_catalogue_can_be_drawn():
    assert set(catalogue()) - set(strategies.ops()) == NOT_DRAWN


@pytest.mark.parametrize("op", strategies.ops())
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_drawn_case_runs_on_the_reference_in_its_dtype(op, dtype):
    @quick
    @given(strategies.cases(op, dtype=dtype))
    def check(case):
        out, pullback = REFERENCE.vjp(case)
        gradients = pullback(np.ones_like(out))
        assert case.op == op
        assert {v.dtype for v in case.primals.values() if differentiable(v)} == {np.dtype(dtype)}
        assert all(gradients[k].shape == v.shape for k, v in case.primals.items() if gradients[k] is not None)
        assert all(np.isfinite(v).all() for v in leaves(out).values())

    check()


def test_an_unknown_op_is_refused():
    with pytest.raises(UsageError, match="no strategy for the op 'nothing'"):
        strategies.cases("nothing")


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("zeros", lambda a: np.sum(a == 0) >= 3),
        ("ties", lambda a: np.unique(a).size < a.size),
        ("saturated", lambda a: np.any(np.abs(a) >= 12)),
        ("large", lambda a: np.any(np.abs(a) == 1e4)),
        ("subnormal", lambda a: np.any((a != 0) & (np.abs(a) < np.finfo(a.dtype).tiny))),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_kind_of_entry_is_drawn(kind, has, dtype):
    assert has(find(strategies.values((2, 3), dtype), has, settings=rare)), kind


@given(strategies.values((3, 2), kinds=strategies.EXACT))
@quick
def test_exact_entries_are_multiples_of_an_eighth(array):
    assert np.array_equal(np.round(8 * array), 8 * array)


@given(strategies.values((3,), positive=True))
@quick
def test_positive_entries_are_inside_the_domain_of_a_logarithm(array):
    assert (array > 0).all()


def test_entries_shrink_to_zeros():
    assert not find(strategies.values((2, 2)), lambda a: True, settings=several).any()


@given(strategies.architectures())
@quick
def test_a_classifier_ends_in_logits_of_two_classes_or_more(net):
    assert len(net.activations) == len(net.widths) - 1
    if net.loss == "softmax_cross_entropy":
        assert net.activations[-1] == "identity"
        assert net.widths[-1] >= 2


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_the_first_and_the_last_activation_are_drawn_in_a_hidden_layer(name):
    def hidden(net):
        return name in net.activations[:-1]

    assert hidden(find(strategies.architectures(), hidden, settings=rare))


def test_a_network_shrinks_to_one_layer_of_one_unit():
    case = find(strategies.networks(), lambda c: True, settings=several)
    assert {k: v.shape for k, v in case.primals.items()} == {"X": (1, 1), "W1": (1, 1), "b1": (1,), "y": (1, 1)}


def test_a_property_of_deep_networks_shrinks_to_the_least_depth():
    case = find(strategies.networks(), lambda c: "W3" in c.primals, settings=rare)
    assert "W4" not in case.primals
    assert max(v.size for v in case.primals.values()) == 1


@given(st.data())
@quick
def test_a_shape_can_be_asked_for(data):
    net = strategies.Architecture(widths=(3, 2), activations=("tanh",), batch=5)
    case = data.draw(strategies.networks(shape=st.just(net)))
    assert case.primals["X"].shape == (5, 3)
