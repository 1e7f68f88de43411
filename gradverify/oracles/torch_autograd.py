"""PyTorch autograd of the forward: of torch code directly, of NumPy code through gradverify.tracing."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.errors import Unsupported
from gradverify.registry import oracle
from gradverify.sampling import quiet, widened
from gradverify.stopping import TIGHTER
from gradverify.tally import largest, stored_eps
from gradverify.types import Adapter, Array, Case, Estimate, Out, differentiable, leaves, like

#: rounding of an autodiff gradient, in units of eps times the largest entry of the tensor
ROUNDINGS = 32.0
CONVENTIONS = ("second", "zero", "split", "all")  #: at ties and kinks, after "first"


@dataclass(frozen=True, kw_only=True)
class Autodiff:
    """Gradients with what was learned on the way."""

    gradients: dict[str, Estimate]
    kinks: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stops: float = 0.0  #: an iteration inside the forward stops at this tolerance
    epsilons: bool = False  #: a logarithm of x + epsilon may be meant as one of x
    sides: tuple[float, ...] = ()  #: by what the primals might be multiplied so that a comparison comes out both ways
    thresholds: float = 0.0  #: the same where arrays are compared with it as well


@oracle("torch-autograd")
class TorchAutograd:
    """All entries of all primals for about ten forwards, by PyTorch autograd of the forward itself.

    The user's backward is never used: a torch Function's forward is differentiated as ordinary torch code, a NumPy
    forward runs unchanged on arrays that speak NumPy's dispatch protocols over torch tensors.
    Error   rounding only, about 32 eps of the tensor's largest entry in float64; declines where the traced value
            differs from the plain one or code leaves the protocols
    """

    name = "torch-autograd"
    independent = False

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Needs torch and an adapter whose forward takes foreign arrays."""
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed (pip install 'gradverify[torch]')"
        if getattr(adapter, "call", None) is None:
            return "the adapter's forward takes no foreign arrays"
        if any(v.dtype.kind == "c" for v in case.primals.values()):
            return "complex primals"
        return ""

    def gradient(
        self,
        adapter: Adapter,
        case: Case,
        plain: Out,
        *,
        ties: str = "first",
        bend: tuple[int, str] | None = None,
        without_epsilon: str = "",
        tighter: bool = False,
        other_branch: bool = False,
    ) -> Autodiff:
        """Gradients of <upstream, forward> at ``case`` in float64. Raises Unsupported with what escaped.

        plain  the forward's ordinary value there, which the traced one must equal
        without_epsilon, tighter, other_branch  see ``gradverify.tracing.trace``: then the value is another one
        """
        if getattr(adapter, "framework", "numpy") == "torch":
            return _torch_going_on(adapter, case) if tighter else _torch(adapter, case, plain)
        from gradverify.tracing import trace

        with quiet():
            traced = trace(
                _call(adapter), case.primals, case.fixed(), ties=ties, bend=bend, without_epsilon=without_epsilon,
                tighter=tighter, other_branch=other_branch,
                expect=None if without_epsilon or tighter or other_branch else plain,
            )  # fmt: skip
            found = traced.vjp(like(plain, {k: np.asarray(v, dtype=float) for k, v in leaves(_upstream(case)).items()}))
        return Autodiff(
            gradients={k: _estimate(found.get(k), v) for k, v in case.primals.items() if differentiable(v)},
            kinks=traced.kinks,
            nodes=traced.nodes,
            notes=tuple(traced.notes),
            stops=traced.stops,
            epsilons=traced.epsilons,
            thresholds=traced.thresholds,
            sides=traced.sides,
        )


def stops_of(adapter: Adapter, case: Case) -> float:
    """The tolerance that an iteration inside torch code stops at, 0 where there is none or no torch code."""
    if getattr(adapter, "framework", "numpy") != "torch" or getattr(adapter, "call", None) is None:
        return 0.0
    import torch

    from gradverify._torch_stops import Stops

    device = getattr(adapter, "device", None) or "cpu"
    given = {k: torch.tensor(widened(v) if differentiable(v) else np.array(v), device=device)
             for k, v in case.primals.items()}  # fmt: skip
    watched = Stops()
    # (user code may raise anything here: what was met until then is known)
    with contextlib.suppress(Exception), torch.no_grad(), quiet(), watched:
        _call(adapter)(given, case.fixed())
    return float(watched.tolerance)


def _torch_going_on(adapter: Adapter, case: Case) -> Autodiff:
    """As ``_torch``, with tighter tolerances; raises Unsupported where no iteration goes on for that."""
    from gradverify._torch_stops import Stops

    watched = Stops(TIGHTER)
    with watched:
        further = _torch(adapter, case, None)
    if not watched.longer:
        raise Unsupported("no iteration goes on for a tighter tolerance")
    return further


def _torch(adapter: Adapter, case: Case, plain: Out | None) -> Autodiff:
    import torch

    device = getattr(adapter, "device", None) or "cpu"
    leaf, given = {}, {}
    for k, v in case.primals.items():
        tensor = torch.tensor(widened(v) if differentiable(v) else np.array(v), device=device)
        leaf[k] = tensor.requires_grad_() if differentiable(v) else tensor
        given[k] = leaf[k].clone()  # not a leaf, so that a forward may work in place on it
    try:
        with torch.enable_grad(), quiet():
            out = _call(adapter)(given, case.fixed())
            outs: dict[str, Any] = dict(leaves(out))
            for key, value in leaves(plain).items() if plain is not None else ():
                _same_value(outs[key].detach().double().cpu().numpy(), np.asarray(value), stored_eps(adapter))
            weights = leaves(_upstream(case))
            total = sum(
                (outs[k].double() * torch.tensor(np.asarray(w, float), device=device)).sum() for k, w in weights.items()
            )
            names = [k for k in leaf if leaf[k].requires_grad]
            if not getattr(total, "requires_grad", False):
                raise Unsupported("the forward's output is detached from its inputs")
            found = torch.autograd.grad(total, [leaf[k] for k in names], allow_unused=True)
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, NotImplementedError) as error:
        raise Unsupported(f"torch cannot differentiate the forward itself: {error}") from error
    arrays = {k: None if g is None else g.cpu().numpy() for k, g in zip(names, found, strict=True)}
    return Autodiff(gradients={k: _estimate(arrays[k], case.primals[k]) for k in names})


def _same_value(traced: Array, plain: Array, stored: float) -> None:
    """The traced forward must be the same function: equal to the rounding of the plain one's dtype."""
    eps = max(stored, float(np.finfo(plain.dtype if plain.dtype.kind == "f" else float).eps))
    size = float(np.max(np.abs(plain[np.isfinite(plain)]), initial=0.0))
    close = 1e5 * eps if eps < 1e-10 else 1e2 * eps if eps < 1e-5 else 16 * eps
    with np.errstate(all="ignore"):
        same = np.abs(traced - plain) <= close * size if traced.shape == plain.shape else np.zeros(1, bool)
    if not np.all(same | ~np.isfinite(plain) if traced.shape == plain.shape else same):
        raise Unsupported("the traced value differs from the plain one")


def _estimate(gradient: Array | None, primal: Array) -> Estimate:
    value = np.zeros(primal.shape) if gradient is None else np.asarray(gradient, dtype=float)
    bound = ROUNDINGS * np.finfo(float).eps * largest(value)
    finite = np.isfinite(value)
    # autodiff writes NaN also where the derivative exists (0 * inf in an unused branch): it does not know there
    return Estimate(
        value=value,
        error=np.asarray(bound) if finite.all() else np.where(finite, bound, np.nan),
        note="" if gradient is not None else "the forward does not depend on it",
    )


def _upstream(case: Case) -> Out:
    if case.upstream is None:
        raise Unsupported("the case has no upstream")
    return case.upstream


def _call(adapter: Adapter) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    call: Callable[[Mapping[str, Any], Mapping[str, Any]], Any] = adapter.call  # type: ignore[attr-defined]  # optional member, asked for in supports
    return call
