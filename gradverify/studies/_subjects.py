"""What the studies look at: ops of the reference and of torch at the catalogue's points, and a user's own subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from gradverify import registry
from gradverify.adapters._adapt import adapt
from gradverify.cases import cases_of
from gradverify.errors import UsageError
from gradverify.inputs import arrays_of, plain_constants
from gradverify.options import nearest
from gradverify.studies._digits import EPS, ROUNDINGS
from gradverify.studies._torch_twins import twins
from gradverify.subjects import Subject, SubjectFile
from gradverify.types import Adapter, Array, Case, differentiable

ADAPTERS = ("reference", "torch")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One implementation of one op with its points.

    make   (dtype, device) -> the adapter
    truth  (case at rounded inputs, with its upstream) -> gradients in wider precision
    """

    adapter: str
    op: str
    cases: Sequence[Case]
    make: Callable[[str, str], Adapter]
    truth: Callable[[Case], Mapping[str, Array | None]]
    dtypes: Sequence[str]
    roundings: float = ROUNDINGS


def catalogue(adapters: Sequence[str], ops: Sequence[str]) -> list[Item]:
    """An item per adapter and op; without the points at a kink, where the choice of a side is no question of digits."""
    found: list[Item] = []
    in_torch = twins() if "torch" in adapters else {}
    for op in ops:
        cases = cases_of(op, without={"kink"})
        truth, roundings = partial(reference_gradients, op), _roundings(op)
        if "reference" in adapters:
            make = partial(_reference, op)
            found.append(Item(adapter="reference", op=op, cases=cases, make=make, truth=truth,
                              dtypes=("float64", "float32", "float16"), roundings=roundings))  # fmt: skip
        if op in in_torch:
            make = partial(_torch, op)
            found.append(Item(adapter="torch", op=op, cases=cases, make=make, truth=truth,
                              dtypes=tuple(EPS), roundings=roundings))  # fmt: skip
    return found


def _roundings(op: str) -> float:
    """What the family of an op says of the roundings that it needs."""
    for entry in registry.case_family.entries():
        promised = entry.meta.get("roundings", {})
        if op in promised:
            return float(promised[op])
    return ROUNDINGS


def _reference(op: str, dtype: str, device: str) -> Adapter:
    adapter: Adapter = registry.adapter["reference"].item(op)
    return adapter


def _torch(op: str, dtype: str, device: str) -> Adapter:
    adapter: Adapter = registry.adapter["torch_module"].item(
        twins()[op], dtype=dtype, device=device, name=f"torch {op}"
    )
    return adapter


def reference_gradients(op: str, case: Case) -> Mapping[str, Array | None]:
    """The reference in extended precision where the machine has it, else in float64."""
    wide = case.at({k: v.astype(np.longdouble) for k, v in case.primals.items() if differentiable(v)})
    _, pullback = registry.adapter["reference"].item(op).vjp(wide)
    return dict(pullback(np.asarray(case.upstream, dtype=np.longdouble)))


def from_files(paths: Sequence[str], seed: int) -> list[Item]:
    """An item per ``@gv.subject`` of ``FILE`` or ``FILE:NAME``; the truth is the subject itself in float64.

    Raises UsageError for files and names that do not exist, AdapterError for files that do not import.
    """
    return [_of_subject(s, Path(s.source.path).stem if s.source else "", seed) for s in subjects_of(paths)]


def subjects_of(paths: Sequence[str]) -> list[Subject]:
    """Every subject that is named. Raises UsageError where there is none."""
    found: list[Subject] = []
    for text in paths:
        path, colon, name = text.rpartition(":")
        whole = not colon or Path(text).exists()
        file = Path(text if whole else path)
        here = SubjectFile(file).load()
        if not whole and name not in [s.name for s in here]:
            known = [s.name for s in here]
            raise UsageError(f"{file} has no subject called {name!r}{nearest(name, known)} known: {', '.join(known)}")
        if not here:
            raise UsageError(f"{file} has no subject; mark a function of rng with @gv.subject")
        found += [s for s in here if whole or s.name == name]
    return found


def drawn(subject: Subject, seed: int, dtype: str | None = None, device: str | None = None) -> tuple[Adapter, Case]:
    """The adapter and the case of a subject, parameters found on the object among the primals."""
    made, primals, constants = subject.draw(seed)
    given = arrays_of(primals or {}, dtype)
    fixed = plain_constants(constants or {}, dtype, given)
    adapter = adapt(made, primals or given, constants=fixed, device=device, dtype=dtype)
    own = getattr(adapter, "parameters", None)
    found = {k: v for k, v in arrays_of(own(), dtype).items() if k not in given} if own is not None else {}
    return adapter, Case(name=subject.name, primals={**given, **found}, constants=fixed)


def _of_subject(subject: Subject, file: str, seed: int) -> Item:
    adapter, case = drawn(subject, seed)
    is_torch = getattr(adapter, "framework", "numpy") == "torch"

    def make(dtype: str, device: str) -> Adapter:
        return drawn(subject, seed, dtype if is_torch else None, device if is_torch else None)[0]

    def truth(at: Case) -> Mapping[str, Array | None]:
        wide = at.at({k: v.astype(float) for k, v in at.primals.items() if differentiable(v)})
        _, pullback = make("float64", "cpu").vjp(wide)
        return dict(pullback(np.asarray(at.upstream, dtype=float)))

    dtypes = tuple(EPS) if is_torch else ("float64", "float32", "float16")
    return Item(adapter=adapter.name, op=f"{file}:{subject.name}", cases=[case], make=make, truth=truth, dtypes=dtypes)
