"""A class with static ``forward(ctx, ...)`` and ``backward(ctx, upstream)`` that no framework owns."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gradverify.adapters._torch import Context

NAMES = frozenset({"ctx", "context", "saved", "cache"})


class _Ctx(Context):
    """The ctx of torch, and the names that others give to what is saved."""

    @property
    def saved_values(self) -> tuple[Any, ...]:
        return self.saved_tensors

    saved_arrays = saved_variables = saved_values


def is_ctx_function(subject: object) -> bool:
    """A class whose forward and backward take a ctx first, in the form of torch.autograd.Function."""
    ways = [inspect.getattr_static(subject, n, None) for n in ("forward", "backward")]
    return isinstance(subject, type) and all(_takes_ctx(getattr(w, "__func__", w)) for w in ways)


def two_functions(subject: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The class as ``forward(...) -> (out, ctx)`` and ``backward(upstream, ctx)``, a fresh ctx for every forward."""
    forward, backward = subject.forward, subject.backward

    def out_and_ctx(*args: Any, **kwargs: Any) -> Any:
        ctx = _Ctx((True,) * (len(args) + len(kwargs)))
        return forward(ctx, *args, **kwargs), ctx

    out_and_ctx.__signature__ = _without_ctx(forward)  # type: ignore[attr-defined]  # read by inspect.signature
    out_and_ctx.__name__ = subject.__name__
    return out_and_ctx, _swapped(backward)


def _takes_ctx(function: Any) -> bool:
    if not inspect.isfunction(function):
        return False
    return next(iter(inspect.signature(function).parameters), "") in NAMES


def _without_ctx(forward: Callable[..., Any]) -> inspect.Signature:
    sig = inspect.signature(forward)
    return sig.replace(parameters=list(sig.parameters.values())[1:])


def _swapped(backward: Callable[..., Any]) -> Callable[..., Any]:
    several = len(inspect.signature(backward).parameters) > 2
    if several or any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(backward).parameters.values()):

        def of_all(upstream: Any, cache: Any) -> Any:
            parts = upstream if isinstance(upstream, (tuple, list)) else (upstream,)
            return backward(cache, *parts)

        return of_all
    return lambda upstream, cache: backward(cache, upstream)
