"""Which returned array is the gradient of which primal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradverify.adapters._arrays import as_array, describe, shape_of
from gradverify.adapters._bind import hint
from gradverify.errors import AdapterError
from gradverify.types import Array, Arrays, Gradients, differentiable

AFFIXES = (
    "d{}", "{}_grad", "grad_{}", "d_{}", "{}_gradient", "gradient_{}", "{}_gradients", "{}grad", "grad{}", "g{}",
    "g_{}", "{}_g", "nabla_{}", "delta_{}", "dL_d{}", "dLd{}", "dl_d{}", "d{}_", "d{}s", "{}_d",
    "{}_bar", "del_{}", "D{}",
)  # fmt: skip
GRADIENT_LIKE = ("d", "grad", "delta", "nabla", "g_")


def spellings(name: str) -> list[str]:
    """The names that people give to the gradient of ``name``, the most usual first."""
    return [a.format(name) for a in AFFIXES]


def spelled(name: str, keys: Sequence[str], *, plain: bool = True) -> str | None:
    """The key with the gradient of ``name``: ``W`` itself if ``plain``, ``dW``, ``W_grad``; case is ignored last."""
    wanted = ([name] if plain else []) + spellings(name)
    for w in wanted:
        if w in keys:
            return w
    folded = {k.casefold(): k for k in reversed(keys)}
    return next((folded[w.casefold()] for w in wanted if w.casefold() in folded), None)


def as_gradient(name: str, value: Any, who: str = "backward") -> Array | None:
    """One gradient as the user returned it: None stays None, an ndarray stays the same object."""
    return None if value is None else as_array(value, f"the gradient of {name!r} from {who}")


def flatten(result: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists (of arrays) and mappings, in order."""
    if isinstance(result, Mapping):
        for value in result.values():
            yield from flatten(value)
    elif isinstance(result, tuple) or (
        isinstance(result, list) and not (result and all(isinstance(v, (int, float)) for v in result))
    ):
        for value in result:
            yield from flatten(value)
    else:
        yield result


def by_name(result: Mapping[Any, Any], primals: Arrays, who: str = "backward") -> Gradients:
    """A mapping of gradients. Raises AdapterError for a key that is no primal and for a primal without a key."""
    if any(isinstance(v, Mapping) for v in result.values()):
        result = unnested(result, list(primals))
    keys = [str(k) for k in result]
    values = dict(zip(keys, result.values(), strict=True))
    found = {n: spelled(n, keys) for n in primals}
    missing = [n for n, k in found.items() if k is None and differentiable(primals[n])]
    unknown = [k for k in keys if k not in found.values()]
    # gradients of intermediate values (dA1, dZ1) are usual in such mappings once every primal has its own
    strange = unknown if missing else [k for k in unknown if not k.lower().startswith(GRADIENT_LIKE)]
    if strange:
        free = missing or list(primals)
        given = ", ".join(primals)
        raise AdapterError(
            f"{who} returned a gradient for {strange[0]!r} but the primals are {given}{hint(strange[0], free)}"
        )
    if missing:
        raise AdapterError(
            f"{who} returned no gradient for {missing[0]!r} (it returned {', '.join(keys) or 'nothing'}); "
            "return None for it if it is not differentiable, or pass it in constants"
        )
    return {n: None if k is None else as_gradient(n, values[k], who) for n, k in found.items()}


def unnested(result: Mapping[Any, Any], names: Sequence[str]) -> dict[str, Any]:
    """``{"fc1": {"W": g}}`` by the names of the primals: fc1_W, fc1.W, fc1W, or W where that is only one.

    What fits no primal keeps its path, joined by dots.
    """
    paths = dict(_paths(result, ()))
    found: dict[str, Any] = {}
    for path, value in paths.items():
        front, last = "".join(path[:-1]), path[-1]
        plain = [n for n in names if spelled(_bare(n), [_bare(front + last)])]
        under = [n for n in names if front and _bare(n).startswith(_bare(front))]
        under = [n for n in under if spelled(_bare(n)[len(_bare(front)) :], [_bare(last)])]
        alone = [n for n in names if spelled(n, [last]) and sum(p[-1] == last for p in paths) == 1]
        name = next(iter(plain or under or alone), ".".join(path))
        found[".".join(path) if name in found else name] = value
    return found


def _paths(node: Mapping[Any, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*above, str(key)))
        else:
            yield (*above, str(key)), value


def _bare(name: str) -> str:
    """Without what joins the parts of a name."""
    return name.translate({ord(c): None for c in "._/ "})


def assign(result: Any, primals: Arrays, who: str = "backward", order: Sequence[str] = ()) -> Gradients:
    """What a backward returned, by primal.

    result   a mapping (keys may have a ``d`` prefix or a ``_grad`` suffix), a tuple or list in the order of the primals
             (integer primals may be left out), or one array where there is one primal
    order    the forward's own order of its arguments (primals and constants), used where the order of the primals does
             not fit: when a tuple has an entry for every argument, or when only this order has the right shapes
    Raises AdapterError with the number and the order that were expected.
    """
    if result is None:
        raise AdapterError(f"{who} returned None; it must return its gradients (is a `return` missing?)")
    if isinstance(result, Mapping):
        return by_name(result, primals, who)
    names = list(primals)
    floats = [n for n in names if differentiable(primals[n])]
    if not isinstance(result, (tuple, list)):
        for wanted in (names, floats):
            if len(wanted) == 1:
                return dict.fromkeys(names) | {wanted[0]: as_gradient(wanted[0], result, who)}
        raise AdapterError(f"{who} returned {describe(result)}; {_expected(names)}")
    if isinstance(result, list) and len(floats) == 1 and all(isinstance(v, (int, float)) for v in result):
        return dict.fromkeys(names) | {floats[0]: as_gradient(floats[0], result, who)}
    values = [v for v in result if not (isinstance(v, (tuple, list, Mapping)) and len(v) == 0)]  # no parameters here
    if any(isinstance(v, Mapping) for v in values) and (whole := _put_together(values, floats)) is not None:
        return by_name(whole, primals, who)
    if len(values) not in (len(names), len(floats), len(order)) or _better_flat(values, names, primals):
        values = list(flatten(result))
    own = [n for n in order if n in primals]
    chosen = next((o for o in (names, floats, list(order)) if len(o) == len(values)), None)
    if chosen is None:
        raise AdapterError(f"{who} returned {len(values)} gradients; {_expected(names)}")
    other = own if len(chosen) == len(names) else [n for n in own if n in floats]
    if (
        chosen != other
        and sorted(chosen) == sorted(other)
        and not fits(chosen, values, primals)
        and fits(other, values, primals)
    ):
        chosen = other
    got = dict(zip(chosen, values, strict=True))
    return {n: as_gradient(n, got.get(n), who) for n in names}


def _put_together(values: Sequence[Any], names: Sequence[str]) -> dict[Any, Any] | None:
    """``dx, {"W": dW, "b": db}`` as one mapping: what stands outside belongs to the primals that have no key."""
    found: dict[Any, Any] = {}
    for v in values:
        found |= v if isinstance(v, Mapping) else {}
    left = [n for n in names if spelled(n, [str(k) for k in found]) is None]
    outside = [v for v in values if not isinstance(v, Mapping)]
    return {**found, **dict(zip(left, outside, strict=True))} if len(left) == len(outside) else None


def _better_flat(values: Sequence[Any], names: Sequence[str], primals: Arrays) -> bool:
    """``dx, [dW]``: as many values as primals, but only without the list the shapes are theirs."""
    flat = list(flatten(values))
    if len(flat) != len(values) or len(values) != len(names):
        return False
    return any(isinstance(v, (tuple, list)) for v in values) and fits(names, flat, primals)


def fits(names: Sequence[str], values: Sequence[Any], primals: Arrays) -> bool:
    """Whether every value that is there has the shape of its primal."""
    return all(v is None or shape_of(v) == primals[n].shape for n, v in zip(names, values, strict=True))


def _expected(names: Sequence[str]) -> str:
    order = ", ".join(names)
    if len(names) == 1:
        return f"expected 1, one per primal: {order}"
    return f"expected {len(names)}, one per primal, in the order {order}; what has no gradient belongs in constants"


def scaled(
    upstream: Any, out_shape: tuple[int, ...], gradient: Array | None, who: str, *, way: str = ""
) -> Array | None:
    """``upstream * gradient`` for a backward without an upstream: of a scalar loss, or of an elementwise function."""
    if gradient is None:
        return None
    if out_shape in ((), (1,), (1, 1)):
        factor = as_array(upstream, "the upstream").reshape(())
        return (
            gradient
            if factor == 1
            else gradient * factor.astype(gradient.dtype if gradient.dtype.kind in "fc" else float)
        )
    if out_shape == gradient.shape or gradient.ndim == 0:
        return as_array(upstream, "the upstream") * gradient
    if len(gradient.shape) > len(out_shape) and gradient.shape[: len(out_shape)] == out_shape:
        raise AdapterError(
            f"{who} returned a Jacobian of shape {gradient.shape} for an output of shape {out_shape}; give a backward "
            "that multiplies it by the upstream, for example np.einsum('ij,ijk->ik', upstream, jacobian)"
        )
    raise AdapterError(
        f"{who} takes no upstream gradient, so its output must be one number (or elementwise); it has shape "
        f"{out_shape} and the gradient {gradient.shape}. Return the sum or mean of "
        f"the losses, or give backward an upstream argument{way}"
    )
