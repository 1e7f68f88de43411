"""Modules as people write them: checkpoints, caches on the module, masks drawn in backward, sparse gradients."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")
nn = torch.nn


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.a, self.b = nn.Linear(5, 7).double(), nn.Linear(7, 5).double()
        self.reentrant = reentrant

    def block(self, x):
        return torch.tanh(self.b(torch.nn.functional.gelu(self.a(x)))) + x

    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.block, x, use_reentrant=self.reentrant)


def test_a_checkpointed_module_passes_with_all_entries_seen():
    report = gv.verify(Checkpointed(False), {"x": drawn(4, 5)})
    assert report.verdict == "pass", report
    assert all("torch-autograd" in f.oracle for f in report.findings if f.check == "pullback-matches-oracle")


def test_reentrant_checkpointing_is_driven_by_backward():
    report = gv.verify(Checkpointed(True), {"x": drawn(4, 5)}, checks=["pullback-matches-oracle"])
    assert report.verdict == "pass", report


class Square(torch.autograd.Function):
    """A Function whose backward reads the weight from the module."""

    @staticmethod
    def forward(ctx, x, module, weight):
        ctx.save_for_backward(x)
        ctx.module = module
        return x @ weight

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g @ ctx.module.weight.T, None, x.T @ g


class ReadsItsWeightInBackward(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))  # so that another point is tried

    def forward(self, x):
        return Square.apply(x, self, self.weight)


def test_a_backward_that_reads_the_modules_weight_finds_the_one_of_its_forward():
    assert gv.verify(ReadsItsWeightInBackward(), {"x": drawn(5, 4)}).verdict == "pass"


class Cached(nn.Module):
    def __init__(self, keeps):
        super().__init__()
        self.weight, self.keeps, self.x = nn.Parameter(drawn(4, 3)), keeps, None

    def forward(self, x):
        module = self

        class Sine(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, w):
                module.x = x
                ctx.save_for_backward(x, w)
                return (x @ w).sin()

            @staticmethod
            def backward(ctx, g):
                x, w = ctx.saved_tensors
                x = module.x if module.keeps else x
                d = g * (x @ w).cos()
                return d @ w.T, x.T @ d

        return Sine.apply(x, self.weight)


@pytest.mark.parametrize(("keeps", "verdict"), [(False, "pass"), (True, "fail")])
def test_a_module_may_be_used_twice_before_its_backward(keeps, verdict):
    report = gv.verify(Cached(keeps), {"x": drawn(5, 4)})
    assert report.verdict == verdict, report
    assert report.causes == (["stale-state"] if keeps else [])


class Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, again):
        ctx.again, ctx.mask = again, (torch.rand_like(x) > 0.4).to(x.dtype) / 0.6
        return x * ctx.mask

    @staticmethod
    def backward(ctx, g):
        mask = (torch.rand_like(g) > 0.4).to(g.dtype) / 0.6 if ctx.again else ctx.mask
        return g * mask, None


@pytest.mark.parametrize("seed", [0, 1])
def test_a_mask_drawn_anew_in_backward_is_seen_whatever_the_caller_has_seeded(seed):
    torch.manual_seed(seed)
    report = gv.verify(Dropout, {"x": drawn(6, 5)}, constants={"again": True})
    assert report.verdict == "fail"
    assert report.causes[0] == "nondeterministic"
    assert "layout" not in report.causes


def test_a_mask_kept_from_forward_passes():
    assert gv.verify(Dropout, {"x": drawn(6, 5)}, constants={"again": False}).verdict == "pass"


def test_sparse_gradients_are_judged_like_dense_ones():
    module = nn.Embedding(8, 3, sparse=True).double()
    report = gv.verify(module, {}, constants={"input": torch.tensor([1, 1, 4])})
    assert report.verdict == "pass", report


class Tied(nn.Module):
    """An embedding that is the output layer, too; autograd drops the row of padding_idx in the first use only."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=0).double()

    def forward(self, index):
        return torch.tanh(self.embedding(index)) @ self.embedding.weight.T


def test_wrong_zeros_at_a_smooth_point_are_no_kink():
    report = gv.verify(Tied(), {}, constants={"index": torch.tensor([[1, 2, 0], [3, 3, 8]])})
    assert report.verdict == "fail"
    assert "kink-convention" not in report.causes


def test_buffers_that_belong_to_the_weights_are_not_asked_with_other_weights():
    """One step of a power iteration gives the gradient where it has converged, and only there."""
    torch.manual_seed(0)
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3).double())
    report = gv.verify(module, {"input": drawn(5, 4)})
    assert report.verdict == "pass", report


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_mask_is_the_same_at_every_precision(dtype):
    """torch.rand_like draws other numbers in float64 than in float32."""
    report = gv.verify(Dropout, {"x": drawn(6, 5)}, constants={"again": False}, dtype=dtype)
    assert report.verdict == "pass", report


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        h = self.linear(x)
        h = h * torch.empty_like(h).uniform_(0.5, 1.5) + torch.randn(h.shape, dtype=h.dtype)
        return h * torch.bernoulli(torch.full_like(h, 0.5))


def test_noise_in_a_float32_module_is_that_of_float32():
    report = gv.verify(Noisy(), {"x": drawn(5, 4).float()})
    assert report.verdict == "pass", report
    assert any("torch-autograd" in f.oracle for f in report.findings)


class Mixed(nn.Module):
    """A real and a complex parameter."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(drawn(3).float())
        self.w = nn.Parameter(torch.complex(drawn(3, 2), drawn(3, 2, seed=1)).to(torch.complex64))

    def forward(self, x):
        return torch.fft.fft(x * self.a, dim=0) @ self.w


def test_a_complex_parameter_beside_a_real_one_keeps_its_imaginary_part():
    report = gv.verify(Mixed(), {"x": drawn(4, 3).float()})
    assert report.verdict == "pass", report


def test_a_hook_on_a_parameter_changes_its_gradient_as_it_does_in_training():
    module = torch.nn.Linear(4, 3, dtype=torch.float64)
    module.weight.register_hook(lambda g: g * torch.tensor([[1.0], [0.0], [1.0]]))
    report = gv.verify(module, {"x": torch.randn(5, 4, dtype=torch.float64)})
    assert report.verdict == "fail"
    assert report.causes[0] == "zeroed-entries"


def test_a_hook_on_a_parameter_that_looks_only_changes_nothing():
    module, seen = torch.nn.Linear(4, 3, dtype=torch.float64), []
    module.weight.register_hook(lambda g: seen.append(float(g.norm())))
    assert gv.verify(module, {"x": torch.randn(5, 4, dtype=torch.float64)}).verdict == "pass"
    assert seen


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 2).double()

    def forward(self, x, adj):
        return torch.sparse.mm(adj, torch.tanh(self.a(x)))


def test_a_sparse_constant_is_handed_over_and_watched():
    where = torch.tensor([[0, 1, 1, 3], [2, 0, 3, 1]])
    adj = torch.sparse_coo_tensor(where, torch.ones(4, dtype=torch.float64), (4, 4)).coalesce()
    assert gv.verify(Graph(), {"x": drawn(4, 3)}, constants={"adj": adj}).verdict == "pass"


def test_a_forward_mode_derivative_inside_the_forward_is_rounded_at_random_without_harm():
    from gradverify._torch_noise import TorchNoise

    w = drawn(2, 4)
    with TorchNoise(0, 1.0):
        _, slope = torch.func.jvp(lambda z: torch.sin(z @ w), (drawn(3, 2),), (torch.ones(3, 2).double(),))
    assert torch.isfinite(slope).all()

    def forward(x, w):
        y, slope = torch.func.jvp(lambda z: torch.sin(z @ w), (x,), (torch.ones_like(x),))
        return (y * slope).sum()

    assert gv.verify(gv.torch_module(forward), {"x": drawn(3, 2), "w": w}).verdict == "pass"
