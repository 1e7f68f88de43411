"""What several invariants need: gradients of varied cases, budgets, and measurements built from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.types import Array, Bench, Case, Estimate, Gradients, Measurement, Out, leaves, like

FLOOR = 16.0  #: roundings of the largest term that are always allowed
ACROSS = 64.0  #: roundings of the root mean square term of a sum over a whole tensor


def varied(case: Case, *, primals: Mapping[str, Any] | None = None, constants: Mapping[str, Any] | None = None) -> Case:
    """The case with some arguments replaced and no upstream: give one to ``pulled``."""
    return replace(
        case,
        primals={**case.primals, **(primals or {})},
        constants={**case.constants, **(constants or {})},
        upstream=None,
    )


def pulled(bench: Bench, case: Case, upstream: Out) -> dict[str, Array | None]:
    """Gradients of a fresh run at ``case``, copied; the upstream is handed over as a private copy."""
    private = like(upstream, {k: np.array(v, copy=True, order="C") for k, v in leaves(upstream).items()})
    return kept(bench.run(case).pullback(private))


def kept(gradients: Gradients) -> dict[str, Array | None]:
    """Private copies of gradients."""
    return {k: None if g is None else np.array(g, copy=True) for k, g in gradients.items()}


def wide(value: Any) -> Array:
    """In float64 (complex128), where sums are formed."""
    array = np.asarray(value)
    return array.astype(complex if array.dtype.kind == "c" else float)


def exactly(value: Any) -> Estimate:
    """A number known without error."""
    return Estimate(value=wide(value), error=np.zeros(np.shape(value)))


def size(values: Any) -> float:
    """The largest finite magnitude, 0 for nothing."""
    found = np.abs(np.asarray(values))
    found = found[np.isfinite(found)]
    return float(found.max()) if found.size else 0.0


def usable(*arrays: Array | None) -> bool:
    """True for gradients that exist, hold something and are finite: others are the business of other checks."""
    return all(a is not None and a.size and bool(np.all(np.isfinite(a))) for a in arrays)


def single(upstream: Out) -> Array | None:
    """The only leaf of an upstream, else None: the ops of the catalogue return one array."""
    parts = leaves(upstream)
    return np.asarray(parts[""]) if list(parts) == [""] else None


def smallest(bench: Bench) -> float:
    """The smallest normal number of the working precision: below it rounding is no longer relative."""
    kind: type = np.float64 if bench.eps < 1e-10 else np.float32
    return float(np.finfo(kind).tiny)


def allowed(bench: Bench, name: str, terms: float) -> float:
    """How far two right computations of the gradient of ``name`` may lie apart, absolute.

    terms  magnitude of the largest numbers that are summed on the way. Twice the measured rounding of the worst entry
           (another order of summation) and ``FLOOR`` roundings of the terms; never larger for a larger array.
    """
    return 2 * size(bench.rounding(name)) + FLOOR * bench.eps * terms + smallest(bench)


def equal(
    bench: Bench,
    name: str,
    got: Any,
    want: Any,
    when: str,
    why: str,
    *,
    terms: float = 0.0,
    budget: float | None = None,
) -> Measurement:
    """The gradient of ``name`` under a variation against what it must then be.

    terms, budget  see ``allowed``; a budget replaces it
    why            ends the sentence "the gradient of W ..."
    """
    wanted = wide(want)
    scale = max(size(wanted), terms)
    rounding = allowed(bench, name, max(scale, size(got))) if budget is None else budget
    return Measurement(
        of=f"{name}: {when}", got=wide(got), want=exactly(wanted), rounding=rounding, scale=scale,
        why=f"the gradient of {name} {why}", facts={"primal": name},
    )  # fmt: skip


def weighed(bench: Bench, of: str, got: Any, want: Any, terms: Array, extra: float, why: str) -> Measurement:
    """Two sums over whole tensors. ``terms`` are the summands, ``extra`` a further absolute allowance."""
    rms = float(np.sqrt(np.sum(np.abs(wide(terms)) ** 2)))
    return Measurement(
        of=of, got=wide(got), want=exactly(want),
        rounding=ACROSS * bench.eps * rms + extra + smallest(bench), scale=rms, why=why,
    )  # fmt: skip


def leaned(bench: Bench, name: str, direction: Array) -> float:
    """What the measured rounding of the gradient of ``name`` can do to its product with a direction."""
    return 2 * float(np.sqrt(np.sum((np.abs(wide(direction)) * bench.rounding(name)) ** 2)))
