"""A torch.autograd.Function: swish(x) = x sigmoid(beta x), with a learned beta."""

import torch

import gradverify as gv


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta):
        s = torch.sigmoid(beta * x)
        ctx.save_for_backward(x, beta, s)
        return x * s

    @staticmethod
    def backward(ctx, grad):
        x, beta, s = ctx.saved_tensors
        slope = s * (1 - s)
        return grad * (s + beta * x * slope), (grad * x * x * slope).sum()


class SwishOneTerm(Swish):
    @staticmethod
    def backward(ctx, grad):
        x, _, s = ctx.saved_tensors
        slope = s * (1 - s)
        return grad * s, (grad * x * x * slope).sum()  # the product rule has two terms


@gv.subject
def right_swish(rng):
    return Swish, {"x": rng.standard_normal((5, 4)), "beta": rng.uniform(0.5, 1.5, ())}


@gv.subject
def wrong_swish_one_term(rng):
    return SwishOneTerm, {"x": rng.standard_normal((5, 4)), "beta": rng.uniform(0.5, 1.5, ())}
