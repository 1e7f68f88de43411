"""Which argument of user code gets what: names first, then position, then a message that says what to write."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from gradverify.errors import AdapterError, GradverifyError


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parameters of a callable, as far as they matter for calling it."""

    names: tuple[str, ...] = ()  #: in order; ``self`` is gone for a bound method
    required: frozenset[str] = frozenset()
    keyword_only: frozenset[str] = frozenset()
    star: str = ""  #: the name after ``*``
    double_star: str = ""
    opaque: bool = False  #: written in C without a signature: everything goes by position

    def __str__(self) -> str:
        parts = [n if n in self.required else f"{n}=..." for n in self.names]
        parts += [f"*{self.star}"] if self.star else []
        return "(" + ", ".join(parts + ([f"**{self.double_star}"] if self.double_star else [])) + ")"


def signature(fn: Callable[..., Any]) -> Signature:
    """Read it; a callable without one (a ufunc, a builtin) takes anything by position."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return Signature(star="args", opaque=True)
    kinds = inspect.Parameter
    named = [p for p in parameters if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    return Signature(
        names=tuple(p.name for p in named),
        required=frozenset(p.name for p in named if p.default is kinds.empty),
        keyword_only=frozenset(p.name for p in named if p.kind is kinds.KEYWORD_ONLY),
        star=next((p.name for p in parameters if p.kind is kinds.VAR_POSITIONAL), ""),
        double_star=next((p.name for p in parameters if p.kind is kinds.VAR_KEYWORD), ""),
    )


def without(sig: Signature, parameter: str) -> Signature:
    """Without a parameter that keeps its default; what comes after it goes by name, or it would take its place."""
    after = sig.names[sig.names.index(parameter) + 1 :]
    return replace(
        sig,
        names=tuple(n for n in sig.names if n != parameter),
        required=sig.required - {parameter},
        keyword_only=sig.keyword_only | set(after),
    )


def who_is(fn: object, default: str = "forward") -> str:
    """The name of a callable for messages."""
    name = getattr(fn, "__name__", "") or type(fn).__name__
    return default if name in ("<lambda>", "partial") else str(name)


def run(who: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call user code. Raises AdapterError that carries whatever it raised."""
    try:
        return fn(*args, **kwargs)
    except GradverifyError:
        raise
    except Exception as error:
        said = f": {error}" if str(error) else ""
        raise AdapterError(f"{who} raised {type(error).__name__}{said}") from error


def hint(name: str, known: Collection[str]) -> str:
    """``; did you mean W?`` where something is near, else nothing."""
    folded = {k.casefold(): k for k in known}
    close = get_close_matches(name.casefold(), folded, n=1)
    if not close and len(known) == 1:
        return f"; did you mean {next(iter(known))}?"
    return f"; did you mean {folded[close[0]]}?" if close else ""


def named(sig: Signature, names: Collection[str]) -> dict[str, str]:
    """The parameter of each name, for the names that a parameter has, exactly or but for its case."""
    found = {n: n for n in names if n in sig.names}
    for n in names:
        alike = [p for p in sig.names if p.casefold() == n.casefold() and p not in found.values()]
        if n not in found and len(alike) == 1:
            found[n] = alike[0]
    return found


class Bundle(str):
    """A parameter that takes several primals by name, as one dict: ``forward(X, parameters)``."""

    __slots__ = ()


BUNDLES = ("parameters", "params", "weights", "theta", "model", "param", "p")
TARGETS = {
    "y_true",
    "ytrue",
    "target",
    "targets",
    "t",
    "label",
    "labels",
    "truth",
    "true",
    "real",
    "gold",
    "ground_truth",
    "expected",
    "desired",
    "actual",
    "gt",
}


def is_target(parameter: str, names: Collection[str]) -> bool:
    """Whether a parameter of a loss is the truth: ``y_true``, ``t``, or ``y`` beside ``y_pred``."""
    return parameter in TARGETS or (
        parameter in ("y", "Y") and any(n.lower().startswith(("y_", "yh", "p")) for n in names)
    )


def slots(
    sig: Signature, primals: Collection[str], constants: Collection[str], *, who: str, spare: Collection[str] = ()
) -> dict[str, str]:
    """The parameter of each primal and constant; what goes to ``*args``/``**kwargs`` has ``""``.

    Primals none of which is a parameter's name go by position if their number fits, or together into one parameter
    that is called ``parameters`` (or the like); a constant that the forward does
    not take is left out if it is in ``spare`` (the backward takes it). Raises AdapterError otherwise.
    """
    if sig.opaque:
        return dict.fromkeys([*primals, *constants], "")
    found = named(sig, primals)
    if len(found) < len(primals) and not any(n == p for n, p in found.items()):
        found = {}  # A, B, C for x, W, b: that B is like b is chance, they go by position
    for name, parameter in named(sig, constants).items():
        if parameter not in found.values():
            found[name] = parameter
    left = [n for n in primals if n not in found]
    free = [p for p in sig.names if p not in found.values() and p not in sig.keyword_only]
    free.sort(key=lambda p: is_target(p, sig.names))  # loss(y_true, y_pred): the primal is the prediction
    bundle = [p for p in free if p in BUNDLES and p in sig.required]
    if len(left) > 1 and len(bundle) == 1 and len([p for p in free if p in sig.required]) < len(left):
        found |= dict.fromkeys(left, Bundle(bundle[0]))
    elif left and len(left) == len(primals) and len(left) <= len(free):
        found |= dict(zip(left, free, strict=False))
    elif left and (sig.star or sig.double_star) and (len(left) == len(primals) or sig.double_star):
        found |= dict.fromkeys(left, "")
    elif left:
        given = ", ".join(primals)
        known = [p for p in sig.names if p not in found.values()] or list(sig.names)
        raise AdapterError(f"{who} takes {sig} but the primals are {given}{hint(left[0], known)}")
    free = [p for p in sig.names if p in sig.required and p not in found.values()]
    unmatched = sorted((n for n in constants if n not in found), key=lambda n: n in spare)
    left = [n for i, n in enumerate(unmatched) if n not in spare or i < len(free)]
    if left and len(left) <= len(free):
        found |= dict(zip(left, free, strict=False))
    elif left and (sig.double_star or sig.star):
        found |= dict.fromkeys(left, "")
    elif left:
        raise AdapterError(f"{who} takes {sig} and has no place for the constant {left[0]!r}{hint(left[0], sig.names)}")
    if missing := [p for p in sig.names if p in sig.required and p not in found.values()]:
        have = ", ".join([*primals, *constants]) or "nothing"
        raise AdapterError(f"{who} takes {sig} but {', '.join(missing)} is missing; given: {have}")
    return found


def aliases_of(places: Mapping[str, str]) -> dict[str, str]:
    """Each parameter's primal or constant; a Bundle for itself."""
    return {str(p): p if isinstance(p, Bundle) else n for n, p in places.items() if p}


def arguments(sig: Signature, places: Mapping[str, str], values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for ``fn(*args, **kwargs)``, values untouched."""
    by_parameter: dict[str, Any] = {p: values[n] for n, p in places.items() if p and not isinstance(p, Bundle)}
    for bundle in {p for p in places.values() if isinstance(p, Bundle)}:
        by_parameter[str(bundle)] = {n: values[n] for n, p in places.items() if p == bundle}
    extra = [n for n, p in places.items() if not p]
    args: list[Any] = []
    for parameter in sig.names:  # by position as far as there is no gap: positional-only parameters need it
        if parameter not in by_parameter or parameter in sig.keyword_only:
            break
        args.append(by_parameter.pop(parameter))
    if extra and not sig.double_star:
        return args + [values[n] for n in extra], by_parameter
    return args, by_parameter | {n: values[n] for n in extra}
