"""Which axes run over the samples, or share another length: said by the case, or found and proved by the forward.

A guess from the shapes is believed only where the forward accepts the arrays with these axes longer by one and its
output follows. What is left open is not guessed: the reason is the message of Unsupported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.errors import Unsupported
from gradverify.points import are_shares
from gradverify.sampling import evaluate, quiet
from gradverify.types import Array, Bench, Case, Out, leaves

#: names that parameters have and samples have not
PARAMETER = re.compile(
    r"(w|b|u|v|weights?|bias(es)?|kernels?|filters?|gamma|beta|alpha|scale|shift|theta|params?|table|embeddings?)"
    r"[_\d]*[a-z]{0,2}\d*",
    re.IGNORECASE,
)
WIDTHS = 3  #: shared lengths that are measured: more of them cost forwards and tell little new
LARGE = 1 << 16  #: entries of all arrays beyond which one is enough

Axes = Mapping[str, int]


def said(bench: Bench) -> Axes:
    """Which axis of which array runs over the samples, as the case or the adapter says; empty when nobody does."""
    found = bench.case.attrs.get("batch_axis", getattr(bench.adapter, "batch_axis", None))
    return found if isinstance(found, Mapping) else {}


def batch(bench: Bench) -> Axes:
    """The axes over the samples, said or found. Raises Unsupported with the reason why nobody can tell."""
    known = said(bench)
    if known:
        return known
    arrays = _handed_over(bench)
    tried = []
    for n in dict.fromkeys(a.shape[0] for a in arrays.values() if a.ndim > 1 and a.shape[0] > 1):
        axes = {k: 0 for k, a in arrays.items() if a.ndim and a.shape[0] == n}
        data = {k: 0 for k in axes if not PARAMETER.fullmatch(k)}
        if not data:
            continue
        tried.append(f"{', '.join(axes)} ({n})")
        for guess in (axes, data):  # where the batch is as large as a width, the parameters stay as they are
            if _proved(bench, guess, n):
                return guess
    looked = f"; tried the leading axis of {' and of '.join(tried)}" if tried else ""
    hint = "a case may say attrs={'batch_axis': {'x': 0}}"
    raise Unsupported(f"no axis is known to run over the samples{looked}; {hint}")


def widths(bench: Bench) -> Iterator[tuple[str, Axes]]:
    """(label, axes) of further lengths that several axes share or one axis has alone, said or found."""
    known = bench.case.attrs.get("axes", {})
    if isinstance(known, Mapping) and known:
        yield from known.items()
        return
    if getattr(bench.adapter, "parameters", dict)():
        return  # the widths are those of the parameters on the object
    arrays = _handed_over(bench)
    met, tried = 0, WIDTHS if sum(a.size for a in arrays.values()) <= LARGE else 1
    for n in dict.fromkeys(n for a in arrays.values() for n in a.shape if n > 1):
        if any(a.shape.count(n) > 1 for a in arrays.values()):
            continue
        axes = {k: a.shape.index(n) for k, a in arrays.items() if n in a.shape}
        if met == tried:
            return
        samples = not any(axes.values()) and any(arrays[k].ndim > 1 and not PARAMETER.fullmatch(k) for k in axes)
        if samples and _proved(bench, axes, n):
            continue  # the batch, which has a check of its own
        if any(k in bench.case.primals for k in axes) and _proved(bench, axes, n, everywhere=True):
            met += 1
            yield (
                f"axis {next(iter(axes.values()))} of {next(iter(axes))}"
                + (f" and of {', '.join(list(axes)[1:])}" if len(axes) > 1 else ""),
                axes,
            )


def telling(bench: Bench) -> tuple[Axes, int, str]:
    """(axes over the samples, another number of samples, why the given number cannot tell).

    One sample cannot tell, nor can as many as another axis is long. Raises Unsupported where the given number can, or
    where it is open which axis it is.
    """
    everything: dict[str, Any] = {**bench.case.constants, **bench.case.primals}
    arrays = {k: v for k, v in everything.items() if isinstance(v, np.ndarray) and v.ndim}
    if not said(bench) and any(a.shape[0] == 1 for k, a in arrays.items() if not PARAMETER.fullmatch(k)):
        return single(bench), 3, "a batch of one"
    try:
        axes, reduced = batch(bench), False
    except Unsupported:
        axes, reduced = _leading(bench), True
    n = next(arrays[k].shape[a] for k, a in axes.items())
    if n == 1:
        return single(bench), 3, "a batch of one"
    others = {m for k, a in arrays.items() for i, m in enumerate(a.shape) if axes.get(k) != i}
    if n not in others:
        raise Unsupported(f"the batch of {n} can tell: no other axis is as long")
    length = next(m for m in range(n + 1, n + 2 + len(others)) if m not in others)
    if _listed(bench, n) or not _follows(bench, axes, n, length, reduced=reduced):
        raise Unsupported(f"the forward does not take {length} samples")
    if reduced and not _moves(bench, sized(bench.case, axes, length)):
        raise Unsupported(f"the forward takes no notice of {length - n} more")
    return axes, length, f"a batch of {n}, as long as another axis"


def _leading(bench: Bench) -> Axes:
    """The leading axes of the data, more than one long, where the output takes no notice of the order along them.

    A reduced output follows no length; rows that may come in any order are samples. Raises Unsupported.
    """
    data = {k: a.shape[0] for k, a in _handed_over(bench).items() if a.ndim > 1 and not PARAMETER.fullmatch(k)}
    if len(set(data.values())) != 1 or min(data.values()) < 2:
        return batch(bench)
    known = getattr(bench, "out", None)
    now = leaves(bench.run().out if known is None else known)
    n = next(iter(data.values()))
    # a determinant takes no notice of rows that are rolled, and does of two that change places
    for order in (np.roll(np.arange(n), 1), np.array([1, 0, *range(2, n)])):
        then = _forward(bench, _reordered(bench.case, data, order))
        if then is None or now.keys() != then.keys() or not all(_alike(now[k], then[k]) for k in now):
            return batch(bench)
    return dict.fromkeys(data, 0)


def _reordered(case: Case, names: Iterable[str], order: Array) -> Case:
    """The case with the rows of some arrays in another order."""
    moved = {k: v[order] for k, v in {**case.constants, **case.primals}.items() if k in names}
    return replace(
        case.at({k: v for k, v in moved.items() if k in case.primals}),
        constants={**case.constants, **{k: v for k, v in moved.items() if k in case.constants}},
        upstream=None,
    )


def _alike(a: Array, b: Array) -> bool:
    """Equal but for the order of a sum."""
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-5, atol=0))  # decides where to look only


def single(bench: Bench) -> Axes:
    """The leading axes of length one that run over the samples. Raises Unsupported where that is open."""
    arrays = _handed_over(bench)
    ones = {k: 0 for k, a in arrays.items() if a.ndim and a.shape[0] == 1 and (a.ndim > 1 or k in bench.case.constants)}
    data = [k for k in ones if k in bench.case.constants or not PARAMETER.fullmatch(k)]
    known = said(bench)
    axes = dict.fromkeys(data, 0) if not known else dict(known)
    if not axes or not any(arrays[k].ndim > 1 for k in axes if k in arrays):
        raise Unsupported("the batch is not one sample")
    if known and any(arrays[k].shape[a] != 1 for k, a in known.items() if k in arrays):
        raise Unsupported("the batch is not one sample")
    if not known and len([k for k in axes if k in bench.case.primals]) > 1:
        raise Unsupported(f"{', '.join(axes)}: it is open which of them runs over the samples")
    if _listed(bench, 1) or not _follows(bench, axes, 1, 3):
        raise Unsupported("the forward takes one sample only, as far as the shapes tell")
    return axes


def sized(case: Case, axes: Axes, length: int) -> Case:
    """``case`` with the named axes cut to ``length``, or filled up with its first entries again.

    Labels and probabilities that sum to one along such an axis still do.
    """

    def taken(v: Any, axis: int) -> Array:
        array = np.asarray(v)
        new = np.asarray(np.take(array, np.arange(length) % max(1, array.shape[axis]), axis=axis))
        return _shared_out(new, array.shape[axis], axis) if length and _sums_to_one(array, axis) else new

    return replace(
        case,
        upstream=None,
        primals={k: taken(v, axes[k]) if k in axes else v for k, v in case.primals.items()},
        constants={k: taken(v, axes[k]) if k in axes else v for k, v in case.constants.items()},
    )


def _sums_to_one(array: Array, axis: int) -> bool:
    """Whether the entries along an axis are shares of one: a label of one hot entry, probabilities.

    Where those along the last axis are, too, another axis is that of the samples.
    """
    plain = array.dtype.kind in "fiub" and array.ndim >= 2 and array.shape[axis] > 1 and array.size > 0
    return plain and are_shares(array, axis) and (axis % array.ndim == array.ndim - 1 or not are_shares(array))


def _shared_out(new: Array, n: int, axis: int) -> Array:
    """Shares of one among the first ``n`` entries; all to the first where nothing of them is left."""
    shares = np.moveaxis(np.array(new, dtype=float), axis, -1)
    shares[..., n:] = 0.0
    shares[..., 0] += shares.sum(axis=-1) == 0
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray(np.moveaxis(shares, -1, axis), dtype=new.dtype)


def _handed_over(bench: Bench) -> dict[str, Array]:
    """The arrays that come with every call: primals that are not parameters of the object, and constants."""
    own: Mapping[str, Array] = getattr(bench.adapter, "parameters", dict)()
    arrays = {k: v for k, v in bench.case.primals.items() if k not in own}
    return {**arrays, **{k: v for k, v in bench.case.constants.items() if isinstance(v, np.ndarray)}}


def _proved(bench: Bench, axes: Axes, n: int, *, everywhere: bool = False) -> bool:
    """Whether the forward accepts one more and its output follows; one entry alone must give the same form too.

    everywhere  any axis of the output may follow, not the leading one alone
    """
    return not _listed(bench, n) and all(_follows(bench, axes, n, m, everywhere) for m in (n + 1, 1))


def _listed(bench: Bench, n: int) -> bool:
    """Whether something that would stay as it is has as many entries: a list of labels, an array in a dictionary."""
    values = [v for v in bench.case.constants.values() if not isinstance(v, np.ndarray)]
    return any((isinstance(v, (list, tuple)) and len(v) == n) or _holds(v, n) for v in values)


def _holds(value: Any, n: int, depth: int = 3) -> bool:
    if isinstance(value, np.ndarray):
        return n in value.shape
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return depth > 0 and any(_holds(v, n, depth - 1) for v in members)


def _follows(bench: Bench, axes: Axes, n: int, length: int, everywhere: bool = False, *, reduced: bool = False) -> bool:
    """Whether the forward takes that length and its output follows; ``reduced``: an output that stays does, too."""
    known = getattr(bench, "out", None)
    now = leaves(bench.run().out if known is None else known)
    then = _forward(bench, sized(bench.case, axes, length))
    if then is None or now.keys() != then.keys():
        return False
    moved = 0
    for k, v in now.items():
        shape = np.shape(v)
        wanted = tuple(length if s == n and (everywhere or i == 0) else s for i, s in enumerate(shape))
        if np.shape(then[k]) != wanted and not (reduced and np.shape(then[k]) == shape):
            return False
        moved += wanted != shape
    # an output that cannot follow (a loss, a trace) proves nothing of one array alone: slack code takes any length
    return moved > 0 or len(axes) > 1 or reduced


def _moves(bench: Bench, case: Case) -> bool:
    """Whether the output is another one there."""
    known = getattr(bench, "out", None)
    now, then = leaves(bench.run().out if known is None else known), _forward(bench, case)
    return then is not None and any(not np.array_equal(now[k], then[k]) for k in now)


def unguarded(bench: Bench) -> bool:
    """Whether an index that is too large does more harm than to raise: on a GPU, in a program of another language."""
    device = str(getattr(bench.adapter, "device", None) or "cpu").lower()
    return "cpu" not in device or hasattr(bench.adapter, "_argv")


def _points(case: Case) -> bool:
    """Whether integers are among the arrays: labels, rows of a table, which may point beyond an end that is cut."""
    arrays = (*case.primals.values(), *case.constants.values())
    return any(isinstance(v, np.ndarray) and v.dtype.kind in "iu" and v.size > 0 for v in arrays)


def _forward(bench: Bench, case: Case) -> Mapping[str, Array] | None:
    if unguarded(bench) and _points(case):
        return None  # a row that is not there any more is no error on a GPU: it ends every later call
    with quiet():
        try:
            out: Out = evaluate(bench.adapter, case)
        except Exception:  # noqa: BLE001  (whatever it raises, this size is not accepted)
            return None
    return leaves(out)
