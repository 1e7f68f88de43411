"""What several recognisers need: the failing gradient as numbers, and ways to say that two arrays are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair, tolerance
from gradverify.types import Array, Arrays, Evidence, Gradients, Measurement, Out, differentiable, leaves

#: checks of the contract of backward: their measurements compare the implementation with itself
CONTRACT = frozenset(
    [
        "dtype-preserved",
        "finite",
        "primals-unchanged",
        "upstream-unchanged",
        "no-aliasing",
        "upstream-layouts",
        "primal-layouts",
        "linear-in-upstream",
        "second-call-equal",
        "two-forwards-before-one-backward",
        "needs-grad-subset",
        "same-array-twice",
        "batch-one",
        "zero-batch",
        "size-one-axes",
        "integers-get-no-gradient",
        "deterministic",
        "raw-backward",
        "shared-node",
        "raises-with-forward",
    ]
)


class Asked:
    """What was last answered: thirty recognisers ask of the same measurement and evidence, one after the other."""

    pair: tuple[Measurement, Evidence, Pair | None] | None = None
    pairs: tuple[Evidence, dict[str, Pair]] | None = None

    @classmethod
    def forget(cls) -> None:
        """Hold on to no arrays."""
        cls.pair = cls.pairs = None


def pair(m: Measurement, ev: Evidence) -> Pair | None:
    """The failing gradient of a measurement against an oracle; None for contract checks and where nothing is wrong."""
    if Asked.pair is None or Asked.pair[0] is not m or not _same_numbers(Asked.pair[1], ev):
        Asked.pair = m, ev, _pair(m, ev)
    return Asked.pair[2]


def _same_numbers(one: Evidence, other: Evidence) -> bool:
    return one is other or (one.got is other.got and one.want is other.want and one.check == other.check)


def _pair(m: Measurement, ev: Evidence) -> Pair | None:
    if ev.check in CONTRACT:
        return None
    name = str(m.facts.get("primal", m.of))
    if ev.check == "shape":
        return known(ev, name)
    whole = None if _elsewhere(ev.check) else ev.got.get(name)
    if (
        whole is not None
        and np.shape(whole) != np.shape(m.got)
        and np.size(whole) == np.size(m.got) == m.want.value.size
    ):
        want = np.asarray(m.want.value)  # of another shape, compared entry by entry
        return Pair(name=name, got=np.asarray(whole), want=want, tol=tolerance(want, m.want.error, m.rounding))
    if whole is not None and np.shape(whole) != np.shape(m.got):  # measured along directions
        found_whole = known(ev, name)
        return found_whole if found_whole is not None and found_whole.alike and np.any(found_whole.wrong) else None
    want = np.asarray(m.want.value)
    found = Pair(name=name, got=np.asarray(m.got), want=want, tol=tolerance(want, m.want.error, m.rounding))
    if m.lower is not None and m.upper is not None and found.got.shape == want.shape:
        inside = (m.upper > m.lower) & (found.got >= m.lower - found.tol) & (found.got <= m.upper + found.tol)
        found = Pair(name=name, got=found.got, want=np.where(inside, found.got, want), tol=found.tol)
    return found if found.got.shape != want.shape or np.any(found.wrong) else None


def _elsewhere(check: str) -> bool:
    """Whether a check judges the gradient at another point than the one that the evidence is about."""
    return check in registry.check and bool(registry.check[check].meta.get("elsewhere"))


def known(ev: Evidence, name: str) -> Pair | None:
    """What was got and wanted for a primal, right or wrong; None where the oracle or the implementation is silent."""
    got, want = ev.got.get(name), ev.want.get(name)
    if got is None or want is None or not want.value.size:
        return None
    tol = tolerance(want.value, 0.0, ev.rounding.get(name, 0.0))
    return Pair(name=name, got=np.asarray(got), want=want.value, tol=tol)


def pairs(ev: Evidence) -> dict[str, Pair]:
    """All primals of which both sides are known."""
    if Asked.pairs is None or not _same_numbers(Asked.pairs[0], ev):
        found = {name: known(ev, name) for name in ev.want}
        Asked.pairs = ev, {k: p for k, p in found.items() if p is not None}
    return dict(Asked.pairs[1])


def elsewhere(ev: Evidence, p: Pair, factor: float) -> str:
    """In which other primals the same factor stands, and which are exact: " (also in W, b; exact in x)"."""
    also, exact = [], []
    for name, q in pairs(ev).items():
        if name == p.name or not q.alike or not np.any(q.signal):
            continue
        if not np.any(q.wrong):
            exact.append(name)
        elif q.is_(factor * q.want, factor):
            also.append(name)
    said = [f"also in {', '.join(also)}"] * bool(also) + [f"exact in {', '.join(exact)}"] * bool(exact)
    return f" ({'; '.join(said)})" if said else ""


FED = ("x", "X", "inputs", "input")


def batch_sizes(ev: Evidence, m: Measurement | None = None) -> dict[int, str]:
    """Lengths that may be the batch -> where they come from: what a check or the case says, else leading axes."""
    if m is not None and "length" in m.facts:
        return {int(m.facts["length"]): "of this check"}
    arrays = {k: v for k, v in ev.case.constants.items() if isinstance(v, np.ndarray)}
    said = ev.case.attrs.get("batch_axis")
    if isinstance(said, Mapping):
        every = {**ev.case.primals, **arrays}
        return {int(every[k].shape[axis]): k for k, axis in said.items() if k in every and every[k].shape[axis] > 1}
    outs = {k or "the output": np.asarray(v) for k, v in leaves(ev.out).items()}
    data = {**arrays, **outs}
    found: dict[int, list[str]] = {}
    for k, v in data.items():
        if v.ndim:
            found.setdefault(int(v.shape[0]), []).append(k)
    for k, v in ev.case.primals.items():
        if v.ndim and int(v.shape[0]) in found:
            found[int(v.shape[0])].append(k)
    fed = {k: v for k, v in ev.case.primals.items() if ev.got.get(k) is None or k in FED}
    data |= fed
    for k, v in {**arrays, **fed}.items():
        if v.ndim > 1 and sum(w.ndim > 1 and w.shape[-1] == v.shape[-1] for w in data.values()) > 1:
            found.setdefault(int(v.shape[-1]), []).append(f"the last axis of {k}")
    return {n: ", ".join(names) for n, names in found.items() if n > 1}


def lengths(ev: Evidence) -> dict[int, str]:
    """All axis lengths in sight above one -> an array that has it."""
    named = {**dict(ev.case.primals), **{k: v for k, v in ev.case.constants.items() if isinstance(v, np.ndarray)}}
    named |= {k or "the output": np.asarray(v) for k, v in leaves(ev.out).items()}
    found: dict[int, str] = {}
    for k, v in named.items():
        for axis, n in enumerate(v.shape):
            if n > 1:
                found.setdefault(int(n), f"axis {axis} of {k}")
    return found


def experiment(ev: Evidence, primals: Arrays | None = None, upstream: Out | None = None) -> Gradients | None:
    """Gradients of a fresh run elsewhere; None when the implementation refuses to run there."""
    try:
        return ev.gradients(dict(primals or {}), ev.upstream if upstream is None else upstream)
    except Exception:  # noqa: BLE001  user code may raise anything where it was not meant to run: no evidence
        return None


def number(value: float) -> str:
    """A factor as people write it: 1/32, 2, -0.5, 0.7312."""
    if 0 < abs(value - 1) < 5e-7:  # six digits would say 1
        return f"1 {'+' if value > 1 else '-'} {abs(value - 1):.2g}"
    for n in range(1, 4097):
        if abs(value * n - 1) < 1e-9:
            return f"1/{n}" if n > 1 else "1"
        if abs(value - n) < 1e-9 * n:
            return str(n)
    return f"-{number(-value)}" if value < 0 else f"{value:.6g}"


def candidates(ev: Evidence, shape: tuple[int, ...]) -> Iterator[tuple[str, Array]]:
    """Arrays in scope of a shape: primals, constants, upstream, output."""
    for k, v in {**dict(ev.case.primals), **dict(ev.case.constants)}.items():
        if isinstance(v, np.ndarray) and v.shape == shape and v.dtype.kind in "fiub":
            yield k, v.astype(float)
    for what, out in (("the upstream", ev.upstream), ("the output", ev.out)):
        for k, v in leaves(out).items():
            if np.shape(v) == shape:
                yield f"{what} {k}".strip(), np.asarray(v, dtype=float)


def float_primals(ev: Evidence) -> dict[str, Array]:
    """The differentiable primals."""
    return {k: v for k, v in ev.case.primals.items() if differentiable(v)}


def changes(m: Measurement) -> str:
    """How many entries differ, by how much, and where the largest is, in words."""
    got, want = np.asarray(m.got), np.asarray(m.want.value)
    if got.shape != want.shape:
        return f"shape {got.shape} in place of {want.shape}"
    with np.errstate(invalid="ignore"):
        gap = np.abs(got - want)
        wrong = ~(gap <= m.want.error + m.rounding)
    where = np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)
    at = f" at {[int(i) for i in where]}" if gap.ndim else ""
    return f"{int(np.sum(wrong))} of {got.size} entries differ, the most{at}: {got[where]:.6g} for {want[where]:.6g}"


def not_finite(m: Measurement, ev: Evidence) -> tuple[str, str] | None:
    """The primal whose gradient has NaN or infinity where something finite is known or expected, and how many."""
    name = str(m.facts.get("primal", m.of))
    got = ev.got.get(name)
    if ev.check != "finite" and (ev.check in CONTRACT or np.shape(m.got) != np.shape(m.want.value)):
        return None
    values = np.asarray(m.got if got is None else got)
    bad = ~np.isfinite(values)
    if ev.check != "finite" and values.shape == m.want.value.shape:
        bad &= np.isfinite(m.want.value)
    if not np.any(bad):
        return None
    first = [int(i) for i in np.argwhere(bad)[0]] if bad.ndim else []
    return (
        name,
        f"{int(np.sum(bad))} of {bad.size} entries of the gradient of {name} are not finite, the first at {first}",
    )
