"""Iterations inside torch code that stop at a tolerance: implicit gradients are right to about that tolerance."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")

from gradverify._torch_stops import Stops  # noqa: E402  (needs torch)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def contraction():
    w = drawn(4, 4)
    return 0.5 * w / torch.linalg.matrix_norm(w, 2)


class Fixed(torch.autograd.Function):
    """z = tanh(z W^T + x), iterated until it stands still; the gradient by the implicit function theorem."""

    @staticmethod
    def forward(ctx, w, x, tol, bug):
        z = torch.zeros_like(x)
        for _ in range(200):
            new = torch.tanh(z @ w.T + x)
            done, z = (new - z).abs().max() < tol, new
            if done:
                break
        ctx.save_for_backward(w, z)
        ctx.bug = bug
        return z

    @staticmethod
    def backward(ctx, g):
        w, z = ctx.saved_tensors
        d = 1 - z * z
        u = torch.empty_like(g)
        for i in range(len(z)):
            jacobian = d[i][:, None] * w
            u[i] = torch.linalg.solve(torch.eye(len(w), dtype=w.dtype) - jacobian.T, g[i])
        v = (g if ctx.bug == "one step" else u * (1.001 if ctx.bug == "scaled" else 1)) * d
        return v.T @ z, v, None, None


@pytest.mark.parametrize("tol", [1e-12, 1e-7])
@pytest.mark.parametrize(("bug", "verdict"), [("", "pass"), ("one step", "fail"), ("scaled", "fail")])
def test_a_fixed_point_is_judged_to_its_tolerance(tol, bug, verdict):
    report = gv.verify(Fixed, {"w": contraction(), "x": drawn(3, 4, seed=1)}, constants={"tol": tol, "bug": bug})
    assert report.verdict == verdict, report


class Equilibrium(torch.nn.Module):
    """The usual form: solved without a graph, one step with it, and a hook that solves for the gradient."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(contraction())

    def solve(self, f, z, tol=1e-9):
        for _ in range(300):
            new = f(z)
            if float((new - z).norm()) < tol:
                break
            z = new
        return new

    def forward(self, x):
        step = lambda z: torch.tanh(z @ self.w.T + x)  # noqa: E731  (as people write it)
        with torch.no_grad():
            z = self.solve(step, torch.zeros_like(x))
        z = step(z)
        if z.requires_grad:
            there = z.detach().requires_grad_()
            again = step(there)

            def back(g):
                return self.solve(lambda y: torch.autograd.grad(again, there, y, retain_graph=True)[0] + g, g)

            z.register_hook(back)
        return z


def test_a_module_that_solves_in_both_directions_passes():
    report = gv.verify(Equilibrium(), {"x": drawn(3, 4, seed=1)})
    assert report.verdict == "pass", report


@pytest.mark.parametrize(
    ("compare", "tolerance"),
    [
        (lambda x, tol: x.norm() < tol, 1e-6),
        (lambda x, tol: float(x.norm()) < tol, 1e-6),
        (lambda x, tol: x.abs().max().item() > tol, 1e-6),
        (lambda x, tol: torch.allclose(x, x, atol=tol, rtol=0), 1e-6),
        (lambda x, tol: x < tol, 0.0),  # many numbers: a mask
        (lambda x, tol: x.norm() < 1, 0.0),
    ],
)
def test_a_single_number_compared_with_a_small_one_is_a_tolerance(compare, tolerance):
    with Stops() as watched:
        compare(drawn(3), 1e-6)
    assert watched.tolerance == tolerance
