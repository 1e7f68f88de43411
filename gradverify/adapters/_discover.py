"""Which arrays on an object are parameters, and where their gradients come from: found by one trial run on a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._forgotten import forgotten
from gradverify.adapters._optimizer import handed_over
from gradverify.adapters._pairs import looks_like_gradient, partner
from gradverify.adapters._plan import Parameter, Plan, Trial
from gradverify.adapters._returned import keyed, returned
from gradverify.adapters._store import Path, arrays, get, groups, label, parse
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Arrays


def find(
    trial: Trial,
    n_inputs: int,
    *,
    grads: Mapping[str, Any],
    params: Sequence[str] | None,
    implicit: bool = False,
    n_constants: int = 0,
    updates: bool = False,
    matters: Callable[[tuple[Path, ...]], bool] = lambda _: True,
) -> Plan:
    """The plan. Sources are tried in the order: said by the user, by name, recorded, returned, by shape, updated.

    n_inputs, n_constants   gradients of inputs come first in what backward returns, perhaps of constants too
    implicit  backward takes no upstream, so it may return gradients of parameters only; updates: it takes a rate
    matters   whether the array at these paths has an influence on the output (an optimizer's momentum has none)
    """
    stable = trial.stable()
    if params is not None:
        wanted = [parse_on(trial.root, text) for text in params]
        stable = {p: v for p, v in {**trial.before, **trial.middle}.items() if p in wanted}
    found = [_said(trial, name, where) for name, where in grads.items()]
    done = {path for p in found for path in p.paths}
    owned = groups({p: v for p, v in stable.items() if p not in done})
    gradients = {q for p in found for q in p.gradient}
    rest: list[tuple[Path, ...]] = []
    by_key = keyed(trial, owned)
    for paths in owned:
        by_path = {p: q for p in paths if (q := partner(p, trial.after, set(paths) | done)) is not None}
        if paths in by_key and not any(trial.after[q] is by_key[paths][1] for q in by_path.values()):
            # what backward hands out is its answer; what it left on layers inside may lack a penalty or a mean
            gradients |= set(by_path.values())
            found.append(Parameter(name="", paths=paths, source="returned", key=by_key[paths][0]))
            continue
        # an array and its own gradient are two things; a gradient is no parameter
        if not by_path or (looks_like_gradient(paths[0]) and all(p in gradients for p in paths)):
            rest.append(paths)
            continue
        where = _summed(trial, by_path)
        gradients |= set(where)
        found.append(Parameter(name="", paths=paths, source="attribute", gradient=where))
    found = _undisputed([p for p in found if p.compute or p.name or not set(p.paths) & gradients], matters)
    started = {**trial.middle, **trial.before}
    rest = [p for p in rest if not set(p) & gradients and isinstance(started.get(p[0]), np.ndarray)]
    if trial.recorder is not None and trial.recorder.pairs:
        given = handed_over(trial.recorder, trial.root)
        found += [Parameter(name="", paths=paths, source="recorded") for paths in rest if set(paths) & given]
        rest = [paths for paths in rest if not set(paths) & given]
    if not found:
        beyond = [n_inputs + i + 1 for i in range(n_constants)]
        answered, rest = returned(trial, rest, (0, n_inputs) if implicit else (n_inputs,), beyond)
        found += answered
    if not found:
        rest = [p for p in rest if matters(p)]
        shaped, rest = _by_shape(trial, rest)
        found += shaped
    if not found:
        found += [Parameter(name="", paths=p, source="updated") for p in rest if any(trial.changed(q) for q in p)]
    if params is None:
        taken = {q for p in found for q in (*p.paths, *p.gradient)}
        found += forgotten(trial.root, found, [p for p in rest if not set(p) & taken], matters, updates=updates)
    return Plan(parameters=_labelled(found))


def static(root: Any, grads: Mapping[str, Any]) -> Plan:
    """Without a trial run: parameters whose gradient has a place already (``dW``, even as zeros or None)."""
    table = arrays(root)
    values = Trial.copies(table)
    trial = Trial(
        before=table,
        values=values,
        middle=table,
        middle_values=values,
        after=table,
        after_values=values,
        root=root,
    )
    return Plan(
        parameters=tuple(p for p in find(trial, 0, grads=grads, params=None).parameters if p.source == "attribute")
    )


def with_input_places(trial: Trial, plan: Plan, fed: Arrays) -> Plan:
    """With attributes that backward wrote, of the shape of the input and no parameter's; gradient-like names first.

    Only where there is one input and backward returned nothing.
    """
    shapes = [v.shape for v in fed.values() if v.dtype.kind in "fc"]
    if trial.result is not None or len(shapes) != 1:
        return plan
    taken = {q for p in plan.parameters for q in (*p.gradient, *p.paths)}
    fresh = [p for p in trial.after if len(p) == 1 and p not in taken and trial.changed(p)]
    found = [p for p in fresh if shape_of(trial.after[p]) == shapes[0]]
    places = tuple(str(p[0][1]) for p in sorted(found, key=lambda p: not looks_like_gradient(p)))
    return replace(plan, input_places=places)


def parse_on(root: Any, text: str) -> Path:
    try:
        return parse(root, text)
    except LookupError as error:
        known = ", ".join(sorted(label(p) for p in arrays(root)))
        raise UsageError(f"{error.args[0]}; arrays on it: {known or 'none'}") from None


def _said(trial: Trial, name: str, where: Any) -> Parameter:
    path = parse_on(trial.root, name)
    paths = next((g for g in groups(trial.middle) if path in g), (path,))
    if callable(where):
        return Parameter(name=name, paths=paths, source="attribute", compute=where)
    return Parameter(name=name, paths=paths, source="attribute", gradient=(parse_on(trial.root, str(where)),))


def _summed(trial: Trial, by_path: Mapping[Path, Path]) -> tuple[Path, ...]:
    """One gradient; or, for one array used by several layers of the same kind, the gradient of each."""
    first = next(iter(by_path))
    owner = get(trial.root, first[:-1])
    alike = [p for p in by_path if p[-1] == first[-1] and type(get(trial.root, p[:-1])) is type(owner)]
    if isinstance(owner, list):
        return _summed_lists(trial, by_path)
    owners = {id(get(trial.root, p[:-1])): by_path[p] for p in alike}
    distinct = {id(trial.after[q]): q for q in owners.values()}
    if len(owners) == len(distinct) > 1 and not isinstance(owner, Mapping):
        return tuple(distinct.values())
    return (by_path[first],)


def _summed_lists(trial: Trial, by_path: Mapping[Path, Path]) -> tuple[Path, ...]:
    """One array in lists: [W, W] of a network, or [W] and [W] of two layers; not both, which is the same twice."""
    levels: dict[Any, dict[int, Path]] = {}
    for p, q in by_path.items():
        if p[-1][0] == "item":
            kind = tuple("*" if isinstance(k, int) else k for _, k in p), type(get(trial.root, p[:-2]))
            levels.setdefault(kind, {})[id(trial.after[q])] = q
    return tuple(max(levels.values(), key=len).values())


def _undisputed(found: list[Parameter], matters: Callable[[tuple[Path, ...]], bool]) -> list[Parameter]:
    """Of several arrays that one gradient would fit by name (W and its momentum), those that the output depends on."""

    def claim(p: Parameter) -> Any:
        return p.gradient if p.source == "attribute" and not (p.name or p.compute) else None

    claims = [claim(p) for p in found]
    disputed = [p for p, c in zip(found, claims, strict=True) if c and claims.count(c) > 1]
    idle = [p for p in disputed if not matters(p.paths)]
    return [p for p in found if p not in idle] if len(idle) < len(disputed) else found


def _by_shape(trial: Trial, rest: list[tuple[Path, ...]]) -> tuple[list[Parameter], list[tuple[Path, ...]]]:
    """Pairs of the same shape where both are the only ones of that shape and the gradient is named like one."""
    mine = {path for paths in rest for path in paths}
    fresh = [
        g[0] for g in groups(trial.after) if g[0] not in mine and trial.changed(g[0]) and looks_like_gradient(g[0])
    ]
    shapes = [shape_of(trial.after[g]) for g in fresh]
    found = []
    for paths in rest:
        shape = shape_of(get(trial.root, paths[0]))
        alike = [p for p in rest if shape_of(get(trial.root, p[0])) == shape]
        if shape and len(alike) == 1 and shapes.count(shape) == 1:
            found.append(Parameter(name="", paths=paths, source="attribute", gradient=(fresh[shapes.index(shape)],)))
    return found, [p for p in rest if p not in [f.paths for f in found]]


def _labelled(found: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Names: the short label where it is unique, else every key of the path."""
    short = [p.name or label(p.paths[0]) for p in found]
    names = [
        s if short.count(s) == 1 else ".".join(str(k) for _, k in p.paths[0]) for s, p in zip(short, found, strict=True)
    ]
    if len(set(names)) != len(names):
        raise AdapterError(
            f"two parameters are called the same: {', '.join(names)}; say which: gv.layer(obj, grads={{'W': 'dW'}})"
        )
    return tuple(
        Parameter(name=n, paths=p.paths, source=p.source, gradient=p.gradient, key=p.key, compute=p.compute)
        for n, p in zip(names, found, strict=True)
    )
