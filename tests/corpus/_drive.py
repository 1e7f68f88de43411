"""Drives the subjects of the corpus without gradverify, and differentiates their forwards by other means.

Used by ``test_corpus_is_sound.py`` only: the corpus must not be judged by what it judges.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

#: weights of the central difference of order 8
STENCIL = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}


def is_torch(subject: Any) -> bool:
    kind = subject if isinstance(subject, type) else type(subject)
    return any(base.__module__.startswith("torch.") for base in kind.__mro__)


def forward(subject: Any, primals: dict[str, Any], constants: dict[str, Any]) -> tuple[Any, Any]:
    """(out, pullback); the pullback takes an upstream and returns a mapping by the names of the primals."""
    np.random.seed(0)  # noqa: NPY002 - what is reseeded before each forward
    if is_torch(subject):
        return _torch(subject, primals, constants)
    if isinstance(subject, tuple):
        made = subject[0](**primals, **constants)
        out, cache = made if isinstance(made, tuple) else (made, None)

        def pullback(u):
            n = len(inspect.signature(subject[1]).parameters)
            return _named(subject[1](u, cache) if n > 1 else subject[1](u), primals)

        return out, pullback
    if inspect.isfunction(subject):
        loss, grads = subject(**primals, **constants)
        return loss, lambda u: {
            k: None if g is None else g * np.asarray(u, dtype=np.asarray(g).dtype)
            for k, g in _named(grads, primals).items()
        }
    return _object(subject, primals, constants)


def _named(grads: Any, primals: dict[str, Any]) -> dict[str, Any]:
    if isinstance(grads, dict):
        return {k: grads[k] if k in grads else grads[f"d{k}"] for k in primals}
    if not isinstance(grads, tuple):
        grads = (grads,)
    return dict(zip(primals, grads, strict=True))


def parameters(subject: Any) -> dict[str, Any]:
    if is_torch(subject):
        return (
            {} if isinstance(subject, type) else {k: v.detach().double().numpy() for k, v in subject.named_parameters()}
        )
    if isinstance(subject, tuple) or inspect.isfunction(subject):
        return {}
    if hasattr(subject, "params"):
        return dict(subject.params)
    source = inspect.getsource(type(subject).backward)
    return {k: v for k, v in vars(subject).items() if isinstance(v, np.ndarray) and f"self.d{k} " in source + " "}


def _object(subject: Any, primals: dict[str, Any], constants: dict[str, Any]) -> tuple[Any, Any]:
    layer = copy.deepcopy(subject)
    given = {k: v for k, v in primals.items() if k in inspect.signature(layer.forward).parameters}
    for k, v in primals.items():
        if k not in given and hasattr(layer, "params"):
            layer.params[k] = v
        elif k not in given:
            setattr(layer, k, v)
    out = layer.forward(**given, **constants)

    def pullback(u):
        got = _named(layer.backward(u), given)
        for k in primals:
            if k not in given:
                got[k] = layer.grads[k] if hasattr(layer, "grads") else getattr(layer, f"d{k}")
        return got

    return out, pullback


def _torch(subject: Any, primals: dict[str, Any], constants: dict[str, Any]) -> tuple[Any, Any]:
    import torch

    tensors = {}
    for k, v in primals.items():
        t = torch.as_tensor(np.array(v))
        t = t.double() if t.is_floating_point() else t
        tensors[k] = t.requires_grad_() if t.is_floating_point() else t
    if isinstance(subject, type):
        out = subject.apply(*tensors.values(), *constants.values())
    else:
        net = copy.deepcopy(subject).double()
        given = {k: t for k, t in tensors.items() if k in inspect.signature(net.forward).parameters}
        own = {k: t for k, t in tensors.items() if k not in given}
        out = torch.func.functional_call(net, own, tuple(given.values())) if own else net(*given.values())
    parts = out if isinstance(out, tuple) else (out,)

    def pullback(u):
        us = [torch.as_tensor(np.array(x)) for x in (u.values() if isinstance(u, dict) else (u,))]
        live = {k: t for k, t in tensors.items() if t.requires_grad}
        grads = torch.autograd.grad(parts, list(live.values()), us, allow_unused=True, retain_graph=True)
        got = dict.fromkeys(tensors)
        got.update({k: None if g is None else g.numpy() for k, g in zip(live, grads, strict=True)})
        return got

    arrays = [p.detach().numpy() for p in parts]
    return (arrays[0] if len(arrays) == 1 else {str(i): a for i, a in enumerate(arrays)}), pullback


def ones_like(out: Any, rng: np.random.Generator) -> Any:
    """A random upstream for ``out``, of the same structure and dtype."""
    if isinstance(out, dict):
        return {k: ones_like(v, rng) for k, v in out.items()}
    out = np.asarray(out)
    return np.asarray(rng.standard_normal(out.shape), dtype=out.dtype)


def dot(u: Any, out: Any) -> Any:
    if isinstance(u, dict):
        return sum(dot(u[k], out[k]) for k in u)
    return np.sum(np.asarray(u, dtype=np.longdouble) * np.asarray(out))


def widened(primals: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {
        k: v.astype(kind) if v.dtype.kind == "f" else v for k, v in ((k, np.asarray(v)) for k, v in primals.items())
    }


def value(subject: Any, primals: dict[str, Any], constants: dict[str, Any], upstream: Any) -> Any:
    """<upstream, forward> in extended precision where the forward can, in float64 where it cannot."""
    kinds = (np.float64,) if is_torch(subject) else (np.longdouble, np.float64)
    for kind in kinds:
        try:
            return dot(upstream, forward(subject, widened(primals, kind), widened_constants(constants, kind))[0])
        except TypeError:
            if kind is kinds[-1]:
                raise
    raise AssertionError


def widened_constants(constants: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {
        k: v.astype(kind) if isinstance(v, np.ndarray) and v.dtype == np.float32 else v for k, v in constants.items()
    }


def differences(subject: Any, primals: dict, constants: dict, upstream: Any, step: float) -> dict[str, np.ndarray]:
    """Central differences of order 8, steps relative to the entry (or to the array where the entry is small)."""
    grads = {}
    for name, array in primals.items():
        if np.asarray(array).dtype.kind != "f":
            continue
        array = np.asarray(array, dtype=np.longdouble)
        floor = 0.1 * np.sqrt(np.mean(array**2)) if array.size else 0
        grad = np.zeros(array.shape, dtype=np.longdouble)
        for index in np.ndindex(array.shape):
            h = step * max(abs(array[index]), floor) or np.longdouble(step)
            for k, weight in STENCIL.items():
                for side in (1, -1):
                    moved = array.copy()
                    moved[index] += side * k * h
                    grad[index] += side * weight * value(subject, {**primals, name: moved}, constants, upstream)
            grad[index] /= h
        grads[name] = grad
    return grads


def one_sided(subject: Any, primals: dict, constants: dict, upstream: Any) -> dict[str, tuple[Any, Any]]:
    """(left, right) derivative per entry by tiny one-sided differences."""
    h = np.longdouble(1e-9)
    here = value(subject, primals, constants, upstream)
    sides = {}
    for name, array in primals.items():
        if np.asarray(array).dtype.kind != "f":
            continue
        array = np.asarray(array, dtype=np.longdouble)
        pair = np.zeros((2, *array.shape), dtype=np.longdouble)
        for index in np.ndindex(array.shape):
            for row, side in enumerate((-1, 1)):
                moved = array.copy()
                moved[index] += side * h
                pair[(row, *index)] = side * (value(subject, {**primals, name: moved}, constants, upstream) - here) / h
        sides[name] = (pair.min(axis=0), pair.max(axis=0))
    return sides
