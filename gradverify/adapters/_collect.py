"""After a backward: every gradient from the place that the trial run found for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify.adapters._arrays import as_array, shape_of
from gradverify.adapters._gradients import as_gradient, assign, flatten, scaled, spelled, spellings
from gradverify.adapters._methods import Methods, left_on
from gradverify.adapters._optimizer import Recorder, recorded
from gradverify.adapters._plan import Parameter, Plan, Trial
from gradverify.adapters._roles import RATE
from gradverify.adapters._store import attributes, children, get, number
from gradverify.errors import AdapterError
from gradverify.types import Array, Arrays, Gradients, Out, differentiable

INPUT_GRADIENTS = (
    "dinputs", "dinput", "dx", "dX", "grad_input", "grad_inputs", "input_grad", "input_gradient", "inputs_grad",
    "gradInput", "d_input", "d_inputs", "dinput_", "grad_x", "x_grad",
)  # fmt: skip


def collect(
    plan: Plan,
    work: Any,
    result: Any,
    primals: Arrays,
    *,
    methods: Methods,
    inputs: Sequence[str],
    before: Mapping[str, Array],
    recorder: Recorder | None,
    upstream: Out,
    out: Out,
) -> Gradients:
    """Gradients by primal; those of a backward without an upstream are multiplied by it."""
    wanted = [p for p in plan.parameters if p.name in primals]
    noted = recorded(recorder, work, {p.name: p.paths for p in wanted}) if recorder is not None else {}
    found: dict[str, Array | None] = {}
    for p in wanted:
        if p.source == "recorded":
            value = noted.get(p.name)
        elif p.source == "updated":
            value = before[p.name] - number(work, p.paths[0])
        elif p.source == "returned":
            value = _within(result, p.key, methods.backward)
        elif p.source == "none":
            value = None
        else:
            value = _left(p, work, methods.backward)
        found[p.name] = as_gradient(p.name, value, methods.backward)
    found |= of_inputs(plan, work, result, {n: primals[n] for n in inputs}, methods)
    if methods.implicit:
        if isinstance(out, Mapping):
            raise AdapterError(
                f"{methods.backward} takes no upstream gradient, so forward must return one number, not a mapping"
            )
        way = ", or say what the loss is: gv.layer(obj, loss=lambda out, y: ...)"
        found = {n: scaled(upstream, out.shape, g, methods.backward, way=way) for n, g in found.items()}
    return {n: found.get(n) for n in primals}


def _left(parameter: Parameter, work: Any, who: str) -> Any:
    if parameter.compute is not None:
        return parameter.compute(work)
    try:
        values = [get(work, path) for path in parameter.gradient]
    except (KeyError, IndexError, AttributeError, TypeError):
        values = [None]
    if any(v is None for v in values):
        place = ".".join(str(k) for _, k in parameter.gradient[0])
        raise AdapterError(f"{who} left no gradient of {parameter.name!r} in {place}")
    return values[0] if len(values) == 1 else sum(as_array(v, f"the gradient of {parameter.name!r}") for v in values)


def _within(result: Any, key: Any, who: str) -> Any:
    if isinstance(result, (tuple, list)) and not isinstance(key, int):
        result = next((v for v in result if isinstance(v, Mapping)), {})
    values = result if isinstance(result, Mapping) else dict(enumerate(flatten(result)))
    if key not in values:
        raise AdapterError(f"{who} returned {len(values)} gradients this time, and none for place {key!r}")
    return values[key]


def of_inputs(plan: Plan, work: Any, result: Any, inputs: Arrays, methods: Methods) -> Gradients:
    """The gradients of what was fed to the forward; empty where a backward for parameters has no place for them."""
    floats = {n: v for n, v in inputs.items() if differentiable(v)}
    nothing: Gradients = {}
    if not floats:
        return nothing
    if result is None:
        usual = (*INPUT_GRADIENTS, *plan.input_places) if len(floats) == 1 else ()
        left = {n: left_on(work, (*spellings(n), *usual)) for n in floats}
        if all(v is None for v in left.values()) and not plan.parameters:
            raise AdapterError(f"{methods.backward} returned None and left no dinputs, dx or grad_input on the object")
        if all(v is None for v in left.values()):
            return nothing
        return {n: as_gradient(n, left.get(n), methods.backward) for n in inputs}
    first = min((p.key for p in plan.parameters if p.source == "returned" and isinstance(p.key, int)), default=None)
    if isinstance(result, (tuple, list)) and any(isinstance(v, Mapping) for v in result):
        rest = [v for v in result if not isinstance(v, Mapping)]
        result = rest[0] if len(rest) == 1 else tuple(rest) if rest else {}
    if isinstance(result, Mapping):
        if plan.parameters:
            found = {n: spelled(n, [str(k) for k in result]) for n in floats}
            if not any(found.values()):
                return nothing
            by_text = {str(k): v for k, v in result.items()}
            return {n: as_gradient(n, by_text.get(found.get(n) or ""), methods.backward) for n in inputs}
        return assign(result, inputs, methods.backward)
    if isinstance(result, (tuple, list)) and plan.parameters and not _numbers(result):
        values = list(flatten(result))
        if values and all(_is_one_of(v, _kept(plan, work)) for v in values):
            return nothing  # those of the parameters, which are left on the object too
        n = len(inputs) if len(values[:first]) >= len(inputs) else len(floats)
        if first is not None and first < n:
            return nothing
        result = tuple(values[:n])
    if methods.implicit and plan.parameters and not isinstance(result, tuple):
        fits = len(floats) == 1 and shape_of(result) == next(iter(floats.values())).shape
        if not fits:  # a network's backward may return anything: the loss, a delta
            return nothing
    return assign(result, inputs, methods.backward, methods.order)


def _kept(plan: Plan, work: Any) -> list[Any]:
    """The gradients that are left on the object."""
    found = []
    for path in (path for p in plan.parameters if p.source == "attribute" for path in p.gradient):
        with contextlib.suppress(KeyError, IndexError, AttributeError, TypeError):
            found.append(get(work, path))
    return found


def _is_one_of(value: Any, gradients: Sequence[Any]) -> bool:
    return any(value is g for g in gradients) or (
        isinstance(value, np.ndarray) and bool(value.any()) and any(np.array_equal(value, g) for g in gradients)
    )


def without_place(plan: Plan, trial: Trial, fed: Arrays, methods: Methods) -> frozenset[str]:
    """The inputs, if a backward that gives gradients of parameters has no place for those of inputs."""
    floats = frozenset(n for n, v in fed.items() if differentiable(v))
    if not plan.parameters or not floats:
        return frozenset()
    try:
        found = of_inputs(plan, trial.root, trial.result, fed, methods)
    except AdapterError:  # the checks' runs will say it
        return frozenset()
    return floats - set(found)


def _numbers(result: Sequence[Any]) -> bool:
    return isinstance(result, list) and all(isinstance(v, (int, float)) for v in result)


def rates_on(root: Any) -> bool:
    """Whether a learning rate is kept on the object or on one inside it."""
    return bool(_rate_places(root))


def set_rates(root: Any, rate: float) -> None:
    """Set every learning rate that is kept on the object."""
    for node, key in _rate_places(root):
        object.__setattr__(node, key, rate)


def _rate_places(root: Any) -> list[tuple[Any, str]]:
    found: list[tuple[Any, str]] = []

    def visit(node: Any, above: frozenset[int]) -> None:
        found.extend((node, k) for k, v in attributes(node).items() if k in RATE and isinstance(v, (int, float)))
        for child in children(node).values():
            if (
                id(child) not in above
                and not isinstance(child, (np.ndarray, str, bytes, int, float, type(None)))
                and len(above) < 8
            ):
                visit(child, above | {id(child)})

    visit(root, frozenset({id(root)}))
    return found


def verified_updates(update: Callable[[float], Mapping[str, Array]], who: str) -> None:
    """Refuse an update in place that does not show the gradient: it must be plain SGD, proportional to the rate."""
    full, half = update(1.0), update(0.5)
    for name, step in full.items():
        size = float(np.max(np.abs(step), initial=0.0))
        slack = 1e-6 * size + 8 * np.finfo(step.dtype).eps
        if not np.all(np.abs(half[name] - 0.5 * step) <= slack):
            raise AdapterError(
                f"{who} changes {name} by an amount that is not proportional to the learning rate (at 1.0 and 0.5): "
                "that is not plain SGD, so the gradient cannot be read from it; switch off clipping, decay and "
                "schedules, or leave the gradient in an attribute: gv.layer(obj, grads={'W': 'dW'})"
            )
        steps = np.abs(step[step != 0])
        if steps.size > 3 and np.ptp(steps) <= 1e-4 * size:
            raise AdapterError(
                f"{who} changes all entries of {name} by the same amount, as Adam or RMSprop do on their first step: "
                "the gradient cannot be read from it; use plain SGD"
            )
