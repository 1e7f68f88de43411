"""Settings beside the given ones at which a bug shows that the given ones hide; each is accepted by the forward."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.checks._axes import PARAMETER, sized, unguarded
from gradverify.checks._modes import forward_of, optional, vars_of_object
from gradverify.checks._neutral import neutral
from gradverify.sampling import evaluate, quiet
from gradverify.types import Array, Bench, Case, differentiable, leaves

STRIDE = re.compile(r"_*(strides?|steps?|hop|s|dilations?|dil)_*", re.IGNORECASE)
REDUCTIONS = ("mean", "sum", "none")
PENALTY = re.compile(
    r"_*(reg(ulari[sz]ation)?(_?(strength|rate|lambda))?|l1|l2|lam(bd)?a?_?|weight_?decay)_*", re.IGNORECASE
)
CLASSES = 512  #: labels beyond which an integer is a count and not the number of a class
LONG = 16  #: steps beyond which an integer is a count and not a stride
LARGE = 1 << 14  #: entries of an array beyond which another size costs too much


def hidden(bench: Bench) -> Iterator[tuple[str, str, Case]]:
    """(what the given setting hides, the other setting in words, a case there)."""
    case = replace(bench.case, upstream=None)
    tried: set[str] = set()
    given = {k for _, v in _within(case) for k in v} | set(case.constants)
    integers = {k: v for k, v in case.primals.items() if v.dtype.kind in "iu"}
    for other in neutral(case, [*_settings(bench, case), *integers.items()], given):
        there = _with(case, {other.name: other.value})
        asked_below = PENALTY.fullmatch(other.name) or STRIDE.fullmatch(other.name)
        if other.name in tried or asked_below:
            continue
        if (_accepted if other.known else _tells)(bench, there) and _repeats(bench, there):
            tried.add(other.name)
            yield other.hides, other.words, there
    for maker in (_penalised, _strided, _reduced, _last_class, _longer_images, _longer_kernels):
        for why, words, elsewhere in maker(bench, case):
            if _accepted(bench, elsewhere):
                yield why, words, elsewhere


def _penalised(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """A penalty, a smoothing or a slope of zero hides its own part of the gradient."""
    for k, v in _settings(bench, case):
        if isinstance(v, (int, float)) and not isinstance(v, bool) and v == 0:
            other = _with(case, {k: 0.1})
            if PENALTY.fullmatch(k) or (isinstance(v, float) and _repeats(bench, other)):
                yield f"{k} is 0", f"with {k} = 0.1", other


def _strided(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """Windows that do not overlap hide ``=`` in place of ``+=``; a stride of one hides where it enters."""
    for k, v in _settings(bench, case):
        steps = v if isinstance(v, (tuple, list)) else (v,)
        if not steps or not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n >= 1 for n in steps):
            continue
        wide = max(steps) > 1
        ones = type(v)(1 for _ in v) if isinstance(v, (tuple, list)) else 1
        if STRIDE.fullmatch(k):
            other = ones if wide else type(v)(2 for _ in v) if isinstance(v, (tuple, list)) else 2
        elif wide and max(steps) <= LONG and _larger(bench, _with(case, {k: ones})):
            other = ones  # whatever it is called: with less of it there is more of the output
        else:
            continue
        why = f"{k} is {v}: windows may not overlap" if wide else f"{k} is {v}"
        yield why, f"with {k} = {other}", _with(case, {k: other})


def _reduced(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """A loss that is a mean here is a sum, or not reduced at all, elsewhere."""
    for k, v in _settings(bench, case):
        for other in REDUCTIONS if isinstance(v, str) and v in REDUCTIONS else ():
            if other != v:
                yield f"{k} is {v!r}", f"with {k} = {other!r}", _with(case, {k: other})


def _repeats(bench: Bench, case: Case) -> bool:
    """Whether the forward is a function there: noise of size 0 may be drawn from a hidden generator."""
    one, two = _there(bench, case), _there(bench, case)
    if one is None or two is None or one.keys() != two.keys():
        return False
    return all(np.array_equal(one[k], two[k]) for k in one)


def _larger(bench: Bench, case: Case) -> bool:
    """Whether the output has more entries there than at the given setting."""
    there = _there(bench, case)
    if there is None:
        return False
    return sum(np.size(v) for v in there.values()) > sum(np.size(v) for v in leaves(_out(bench)).values())


def _last_class(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """Labels without the last class hide an off-by-one in the number of classes."""
    if getattr(bench.adapter, "framework", "numpy") not in ("numpy", "torch") or unguarded(bench):
        return
    arrays: dict[str, Any] = {**case.constants, **{k: v for k, v in case.primals.items() if not differentiable(v)}}
    for k, v in arrays.items():
        if not isinstance(v, np.ndarray) or not v.size or v.ndim == 0:
            continue
        if v.dtype.kind in "iu" and v.min() >= 0:
            last = _largest_label(bench, case, k, v)
            if last > v.max():
                yield (
                    f"{k} has no label {last}, the last class",
                    f"with a label {last} in {k}",
                    _relabelled(case, k, last),
                )
        elif v.dtype.kind == "f" and v.ndim == 2 and v.shape[1] > 1 and _one_hot(v) and not v[:, -1].any():
            new = v.copy()
            new[0] = 0
            new[0, -1] = 1
            yield f"{k} has no sample of the last class", f"with the last class in {k}", _with(case, {k: new})


def _settings(bench: Bench, case: Case) -> list[tuple[str, Any]]:
    """Constants, those in a dictionary (``conv_param``) too, and what the forward was left at its default."""
    inner = {k: v for _, within in _within(case) for k, v in within.items() if isinstance(k, str)}
    return list({**optional(forward_of(bench.adapter)), **inner, **case.constants}.items())


def _within(case: Case) -> list[tuple[str, dict[str, Any]]]:
    return [(k, v) for k, v in case.constants.items() if isinstance(v, dict)]


def _one_hot(v: Array) -> bool:
    return bool(np.all((v == 0) | (v == 1)) and np.all(v.sum(axis=1) == 1))


def _largest_label(bench: Bench, case: Case, name: str, v: Array) -> int:
    """The largest label that the forward accepts, -1 where it accepts any (then these are no labels).

    Only lengths of axes can be numbers of classes, so only these are tried.
    """
    top = int(v.max())
    if top + 1 > CLASSES or _accepted(bench, _relabelled(case, name, CLASSES * 4)):
        return -1
    fixed = [a for a in case.constants.values() if isinstance(a, np.ndarray)]
    shapes = [np.shape(a) for a in (*case.primals.values(), *fixed, *leaves(_out(bench)).values())]
    lengths = sorted({n for s in shapes for n in s if top + 1 < n <= CLASSES}, reverse=True)
    return next((n - 1 for n in lengths if _accepted(bench, _relabelled(case, name, n - 1))), -1)


def _relabelled(case: Case, name: str, label: int) -> Case:
    values: Mapping[str, Any] = case.constants if name in case.constants else case.primals
    new = np.array(values[name])
    new.flat[0] = label
    return _with(case, {name: new})


def _longer_images(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """Axes that are free of all others (height, width, time) made longer: what a stride that divides hides.

    Not of an object that was made for images of this shape and says so (``self.input_shape``).
    """
    made_for = {tuple(v) for v in vars_of_object(bench.adapter).values() if isinstance(v, (tuple, list)) and len(v) > 1
                and all(isinstance(n, (int, np.integer)) for n in v)}  # fmt: skip
    for k, v in _tensors(bench, case):
        free = [] if _alike(case, k) else [i for i in _free(bench, case, k) if _looks_on(bench, case, k, i)]
        if free and not PARAMETER.fullmatch(k) and v.shape not in made_for and v.shape[1:] not in made_for:
            by = {axis: 1 + 2 * i for i, axis in enumerate(reversed(free))}
            shape = tuple(n + by.get(i, 0) for i, n in enumerate(v.shape))
            yield (
                f"{k} has shape {v.shape}: strides may divide it",
                f"with {k} of shape {shape}",
                sized_along(case, k, by),
            )


def _longer_kernels(bench: Bench, case: Case) -> Iterator[tuple[str, str, Case]]:
    """Windows longer by one overlap, whatever the stride of two."""
    for k, v in _tensors(bench, case):
        if PARAMETER.fullmatch(k) and not _alike(case, k):
            free = {i: 1 for i in _free(bench, case, k) if _looks_on(bench, case, k, i)}
            if free:
                shape = tuple(n + free.get(i, 0) for i, n in enumerate(v.shape))
                why = f"{k} has shape {v.shape}: windows may not overlap"
                yield why, f"with {k} of shape {shape}", sized_along(case, k, free)


def _free(bench: Bench, case: Case, name: str) -> Iterator[int]:
    """Axes that may be tried at another length: all but the first of several; on a GPU none that others have.

    Kernels there do not look at shapes that do not fit, they read beyond them: torch 2.11's bfloat16 attention on CUDA
    ends the process.
    """
    others = [v for k, v in {**case.primals, **case.constants}.items() if k != name and isinstance(v, np.ndarray)]
    taken = {n for v in others for n in v.shape} if unguarded(bench) else set()
    shape = case.primals[name].shape
    return (i for i in range(min(1, len(shape) - 1), len(shape)) if shape[i] not in taken)


def _alike(case: Case, name: str) -> bool:
    """Whether another array has this very shape: the two go together, entry by entry or step by step."""
    others = [v for k, v in {**case.primals, **case.constants}.items() if k != name and isinstance(v, np.ndarray)]
    return any(v.shape == case.primals[name].shape for v in others)


def _looks_on(bench: Bench, case: Case, name: str, axis: int) -> bool:
    """Whether the forward accepts an axis longer by one, and looks at what was added there or to an axis twice as long.

    A stride may leave one pixel over. What takes ``T`` steps of everything, with ``T`` the length of another array, was
    not made for longer ones.
    """
    if not _accepted(bench, sized_along(case, name, {axis: 1})):
        return False
    return any(_tells(bench, sized_along(case, name, {axis: n})) for n in (1, case.primals[name].shape[axis]))


def _tensors(bench: Bench, case: Case) -> Iterator[tuple[str, Array]]:
    """Differentiable primals that are handed over at each call: three axes or more, fewer where windows have a size."""
    windows = any(type(v) is int and v > 1 for _, v in _settings(bench, case))
    own: Mapping[str, Array] = getattr(bench.adapter, "parameters", dict)()
    for k, v in case.primals.items():
        if v.ndim >= (1 if windows else 3) and differentiable(v) and k not in own and 0 < v.size <= LARGE:
            yield k, v


def sized_along(case: Case, name: str, by: Mapping[int, int]) -> Case:
    """One primal longer by ``by`` along some axes; the new entries are those of the middle, scaled by a little."""
    for axis, more in by.items():
        n = case.primals[name].shape[axis]
        case = sized(case, {name: axis}, n + more)
        v = np.array(case.primals[name])
        tail = (slice(None),) * axis + (slice(n, None),)
        v[tail] = v[tail] * 0.75
        case = case.at({name: v})
    return case


def _with(case: Case, constants: Mapping[str, Any]) -> Case:
    """The case with other constants, one that stands in a dictionary replaced there; with other integers as primals."""
    new = dict(case.constants)
    for name, value in constants.items():
        if name in case.primals and name not in new:
            case = case.at({name: value})
            continue
        home = next((k for k, v in _within(case) if name in v and name not in case.constants), None)
        new[home or name] = value if home is None else {**new[home], name: value}
    return replace(case, constants=new)


def _tells(bench: Bench, case: Case) -> bool:
    """Whether the forward accepts the case and its output is another one."""
    then = _there(bench, case)
    if then is None or not _sound(then):
        return False
    now = leaves(_out(bench))
    return now.keys() == then.keys() and any(not np.array_equal(now[k], then[k]) for k in now)


def _out(bench: Bench) -> Any:
    known = getattr(bench, "out", None)
    return bench.run().out if known is None else known


def _accepted(bench: Bench, case: Case) -> bool:
    """Whether the forward runs there and gives finite numbers, at least one."""
    there = _there(bench, case)
    return there is not None and _sound(there)


def _there(bench: Bench, case: Case) -> Mapping[str, Array] | None:
    """The parts of the output there; None where the forward does not run."""
    with quiet():
        try:
            return leaves(evaluate(bench.adapter, case))
        except Exception:  # noqa: BLE001  (whatever it raises, this setting is not accepted)
            return None


def _sound(parts: Mapping[str, Array]) -> bool:
    return bool(parts) and all(np.size(v) > 0 and np.all(np.isfinite(v)) for v in parts.values())
