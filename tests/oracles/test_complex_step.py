"""Complex step: exact where the forward is analytic, and silent where it is not."""

import numpy as np
import pytest

from gradverify.errors import Unsupported
from gradverify.oracles.complex_step import ComplexStep
from tests.oracles.support import forward, value, verify

ANALYTIC = {
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "log of squares": (lambda x: np.log(1 + x * x), lambda x: 2 * x / (1 + x * x)),
    "power": (lambda x: x**3.0, lambda x: 3 * x * x),
}
NOT_ANALYTIC = {
    "abs": np.abs,
    "conjugate": lambda x: np.conj(x) * x,
    "a cast to real": lambda x: np.asarray(x, dtype=complex).real ** 2,
    "an imaginary part": lambda x: np.sin(x) + np.imag(x) * 3,
}


@pytest.mark.parametrize("name", ANALYTIC)
def test_analytic_code_is_differentiated_to_rounding(name):
    f, df = ANALYTIC[name]
    x = np.array([0.3, 1.2, 2.5])
    found = ComplexStep().gradient(forward(f, x=x))["x"]
    assert np.all(np.abs(found.value - df(x)) <= found.error)
    assert np.all(found.error <= 1e-13 * np.max(np.abs(df(x))))


@pytest.mark.parametrize("name", NOT_ANALYTIC)
def test_code_that_is_not_analytic_is_declined(name):
    with pytest.raises(Unsupported):
        ComplexStep().gradient(forward(NOT_ANALYTIC[name], x=np.array([0.3, -1.2])))


def test_code_that_refuses_complex_numbers_is_declined_with_what_it_said():
    def f(x):
        if x.dtype.kind == "c":
            raise TypeError("real numbers please")
        return np.exp(x)

    with pytest.raises(Unsupported, match="real numbers please"):
        ComplexStep().gradient(forward(f, x=np.array([0.3])))


def test_code_that_drops_the_imaginary_part_is_declined():
    def f(x):
        out = np.empty(x.shape)
        out[:] = np.exp(x).real
        return out

    with pytest.raises(Unsupported):
        ComplexStep().gradient(forward(f, x=np.array([0.3])))


def test_relu_away_from_its_kink_is_never_answered_wrongly():
    x = np.array([0.3, -1.2])
    try:
        found = ComplexStep().gradient(forward(lambda x: np.where(x.real > 0, x, 0 * x), x=x))["x"]
    except Unsupported:
        return
    assert found.value.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(("slope", "verdict"), [(1.0, "pass"), (1 + 1e-9, "fail")])
def test_asked_alone_it_judges_to_nine_digits_and_more(slope, verdict):
    report = verify(np.exp, lambda u, x: slope * u * np.exp(x), np.array([0.3, -1.2]), oracles=["complex-step"])
    assert report.verdict == verdict
    assert value(report).oracle == "complex-step"


def test_asked_alone_about_code_that_is_not_analytic_nothing_is_judged():
    report = verify(np.abs, lambda u, x: u * np.sign(x), np.array([0.3, -1.2]), oracles=["complex-step"])
    assert report.verdict == "inconclusive"


def test_a_gradient_whose_terms_cancel_is_known_to_the_rounding_of_its_terms():
    x = np.array([0.3, 1.7, -0.9, 2.2, 0.1, 0.4])
    estimate = ComplexStep().gradient(forward(lambda x: x - x.mean(), x=x))["x"]
    assert np.all(np.abs(estimate.value) <= estimate.error)  # the true gradient of a sum of centred numbers is 0
    assert np.all(estimate.error < 1e-12)
