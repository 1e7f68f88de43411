"""A torch.nn.Module with a hand-written backward inside: RMS normalisation, as in many language models."""

import torch
from torch import nn

import gradverify as gv


class RMSNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, eps):
        inv = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, inv)
        return x * inv

    @staticmethod
    def backward(ctx, grad):
        x, inv = ctx.saved_tensors
        dot = (grad * x).mean(-1, keepdim=True)
        return inv * grad - x * inv.pow(3) * dot, None


class RMSNormConstantScale(RMSNormFunction):
    @staticmethod
    def backward(ctx, grad):
        _, inv = ctx.saved_tensors
        return inv * grad, None  # the scale depends on x too


class Block(nn.Module):
    def __init__(self, n_in, n_out, norm):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.gain = nn.Parameter(torch.ones(n_out) + 0.1 * torch.randn(n_out))
        self.norm = norm

    def forward(self, x):
        return self.gain * self.norm.apply(self.linear(x), 1e-6)


def block(norm, rng):
    torch.manual_seed(int(rng.integers(2**31)))
    return Block(5, 4, norm).double()


@gv.subject
def right_rmsnorm(rng):
    return block(RMSNormFunction, rng), {"x": rng.standard_normal((6, 5))}


@gv.subject
def wrong_rmsnorm_constant_scale(rng):
    return block(RMSNormConstantScale, rng), {"x": rng.standard_normal((6, 5))}
