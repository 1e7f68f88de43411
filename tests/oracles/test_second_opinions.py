"""Oracles asked beside the one that settles every entry: the implementation's own jvp, forward mode, the reference."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters.functions import Functions
from gradverify.errors import Unsupported
from gradverify.oracles.forward_mode import ForwardMode
from gradverify.oracles.reference import Reference
from gradverify.registry import oracle as oracles
from gradverify.types import Case, Estimate
from tests.oracles.support import VALUE, value

X = np.array([[0.3, -0.8, 1.4], [0.9, -0.1, -1.6]])


class WithJvp(Functions):
    """tanh with a forward mode of its own, scaled by ``factor``."""

    def __init__(self, factor=1.0, backward=1.0):
        super().__init__(
            lambda x: (np.tanh(x), x), lambda u, x: {"x": backward * u * (1 - np.tanh(x) ** 2)}, name="tanh"
        )
        self.factor = factor

    def jvp(self, case, tangents):
        x = case.primals["x"]
        return self.factor * (1 - np.tanh(x) ** 2) * tangents["x"]


def by_oracle(report, name):
    return [f for f in report.findings if name in f.oracle]


def test_a_backward_that_is_the_adjoint_of_its_jvp_passes():
    report = gv.verify(WithJvp(), {"x": X}, checks=[VALUE])
    [found] = by_oracle(report, "adjoint")
    assert found.verdict == "pass"
    assert found.gap <= 1e-14


@pytest.mark.parametrize("factor", [-1.0, 1 + 1e-10])
def test_a_jvp_that_is_not_the_adjoint_fails(factor):
    report = gv.verify(WithJvp(factor), {"x": X}, checks=[VALUE], oracles=["adjoint"])
    assert {f.verdict for f in by_oracle(report, "adjoint")} == {"fail"}


def test_a_jvp_and_a_backward_with_the_same_bug_are_caught_by_another_oracle():
    report = gv.verify(WithJvp(2.0, 2.0), {"x": X}, checks=[VALUE])
    assert report.verdict == "fail"


def test_an_implementation_without_jvp_is_not_asked_for_one():
    report = gv.verify(
        (lambda x: (np.tanh(x), x), lambda u, x: {"x": u * (1 - np.tanh(x) ** 2)}), {"x": X}, checks=[VALUE]
    )
    assert not by_oracle(report, "adjoint")


@pytest.mark.parametrize(("backward", "verdict"), [(1.0, "pass"), (2.0, "fail")])
def test_a_forward_mode_that_declines_leaves_the_judgement_to_the_others(backward, verdict):
    class NoJvp(WithJvp):
        def jvp(self, case, tangents):
            raise Unsupported("no forward mode inside a custom rule")

    report = gv.verify(NoJvp(backward=backward), {"x": X}, checks=[VALUE])
    assert report.verdict == verdict, str(report)
    assert any(f.oracle and f.check == VALUE for f in report.findings)


def test_forward_mode_gives_the_derivative_along_a_direction():
    torch = pytest.importorskip("torch")
    adapter = gv.torch_module(lambda x: torch.tanh(x) * x)
    case = Case(name="c", primals={"x": X}, upstream=np.cos(X))
    v = np.sin(3 * X)
    truth = np.sum(np.cos(X) * (np.tanh(X) + X * (1 - np.tanh(X) ** 2)) * v)
    assert ForwardMode().along(adapter, case, {"x": v}) == pytest.approx(float(truth), rel=1e-13)


def test_forward_mode_declines_numpy_code():
    assert "not torch" in ForwardMode().supports(WithJvp(), Case(name="c", primals={"x": X}))


def test_forward_mode_declines_code_that_leaves_torch():
    torch = pytest.importorskip("torch")
    adapter = gv.torch_module(lambda x: torch.from_numpy(np.tanh(x.detach().numpy())))
    with pytest.raises(Unsupported, match="no forward mode here"):
        ForwardMode().along(adapter, Case(name="c", primals={"x": X}, upstream=np.ones_like(X)), {"x": X})


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.0001, "fail")])
def test_forward_mode_judges_a_torch_function(factor, verdict):
    torch = pytest.importorskip("torch")

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return factor * u * (1 - torch.tanh(x) ** 2)

    report = gv.verify(Tanh, {"x": X}, checks=[VALUE], oracles=["forward-mode"])
    assert [f.verdict for f in by_oracle(report, "forward-mode")] == [verdict]


def test_the_reference_is_asked_for_a_case_that_names_an_op():
    case = Case(name="c", primals={"z": X}, upstream=np.cos(X), op="tanh")
    assert Reference().supports(WithJvp(), case) == ""
    out, gradients = Reference().gradient(case)
    assert np.allclose(out, np.tanh(X), rtol=1e-15)
    assert np.allclose(gradients["z"], np.cos(X) * (1 - np.tanh(X) ** 2), rtol=1e-13)


@pytest.mark.parametrize(("op", "said"), [("", "names no op"), ("no-such-op", "has no op 'no-such-op'")])
def test_the_reference_says_why_it_does_not_apply(op, said):
    assert said in Reference().supports(WithJvp(), Case(name="c", primals={"z": X}, op=op))


@pytest.fixture
def third_party():
    """An oracle of somebody else's, registered for one test."""

    @oracles("closed-form-of-tanh")
    class ClosedForm:
        """tanh' = 1 / cosh^2."""

        name, independent = "closed-form-of-tanh", True

        def supports(self, adapter, case):
            return "" if set(case.primals) == {"x"} else "not of one primal x"

        def gradient(self, adapter, case):
            x = case.primals["x"]
            return {"x": Estimate(value=case.upstream / np.cosh(x) ** 2, error=1e-14)}

    yield "closed-form-of-tanh"
    del oracles._entries["closed-form-of-tanh"]


@pytest.mark.parametrize(("backward", "verdict"), [(1.0, "pass"), (1.001, "fail")])
def test_an_oracle_of_a_third_party_is_asked(third_party, backward, verdict):
    report = gv.verify(WithJvp(1.0, backward), {"x": X}, checks=[VALUE], oracles=[third_party])
    assert [f.verdict for f in by_oracle(report, third_party)] == [verdict]


class LiesToTheTracer:
    """exp, which is something else on arrays that are not NumPy's own: of equal value here, of another slope."""

    def forward(self, x):
        out = np.exp(x)
        return (out if type(out) is np.ndarray else out + (x - X) * 0.5), x

    def backward(self, upstream, x):
        return {"x": upstream * np.exp(x)}


def test_a_disagreement_of_oracles_is_a_finding_about_the_oracle_and_differences_decide():
    lies = LiesToTheTracer()
    report = gv.verify((lies.forward, lies.backward), {"x": X}, checks=[VALUE])
    assert report.verdict == "pass"
    [found] = [f for f in report.findings if f.check == "oracles-agree"]
    assert "finite differences" in found.why
    assert found.oracle == "torch-autograd"
    assert value(report).oracle != "torch-autograd"


def test_the_lie_does_not_hide_a_wrong_gradient():
    lies = LiesToTheTracer()
    report = gv.verify((lies.forward, lambda u, x: {"x": u * (np.exp(x) + 0.5)}), {"x": X}, checks=[VALUE])
    assert report.verdict == "fail"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_bias_that_a_normalisation_cancels_is_rounding_along_a_direction_too(seed):
    import torch

    torch.manual_seed(seed)
    layers = torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU()
    report = gv.verify(torch.nn.Sequential(*layers).double(), {"x": torch.randn(5, 4).double()}, level="thorough")
    assert {f.verdict.value for f in by_oracle(report, "forward-mode")} == {"pass"}
