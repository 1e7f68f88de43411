"""An object with a forward and a backward: a layer, a loss, an activation, a network of layers.

=============================================  ===============================================================
gradients are found                            example
=============================================  ===============================================================
in attributes beside the parameter             ``W`` and ``dW``, ``grad_W``, ``W_grad``, ``weights_gradient``
in containers                                  ``grads["W"]``, ``params[0]`` and ``grads[0]``, ``W["grad"]``, ``W.grad``
in layers inside                               ``layers.0.W`` and ``layers.0.dW``
in what backward returns                       ``dx, [dW, db]``, ``{"W1": ...}``, ``nabla_b, nabla_w``
by an optimizer that the layer calls           ``self.W_opt.update(W, g)``: a recorder takes its place
by an update in place                          ``backward(dout, lr)``: (before - after) / lr, if proportional
the input's, when backward returns None        ``self.dinputs``, ``self.dx``, ``self.grad_input``
=============================================  ===============================================================
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters import _discover as discover
from gradverify.adapters import _optimizer as optimizers
from gradverify.adapters import _trial as trials
from gradverify.adapters._arrays import as_out, check_primals, given, is_module
from gradverify.adapters._bind import run, signature
from gradverify.adapters._collect import collect, of_inputs, rates_on, set_rates
from gradverify.adapters._methods import BACKWARD, DERIVATIVE, FORWARD, LOSS, Methods, has, methods_of
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._store import arrays, get, groups, label, put
from gradverify.errors import AdapterError, Unsupported, UsageError
from gradverify.types import Array, Arrays, Case, Gradients, Out, Pullback, Run


@registry.adapter("layer")
class Layer:
    """An object with forward and backward; every run works on a deep copy, parameters are found with their gradients.

    subject            the object, a class that needs no arguments, or a factory (for what cannot be copied)
    grads              where gradients are, if not found: {"W": "dW", "layers.0.W": "cache.gw"} or a callable(object)
    params             the only arrays that count as parameters: ["W", "b"]
    forward, backward  names of the methods; found under the usual names
    loss               for a backward with the loss inside: a method's name, or loss(out, **constants)
    Raises UsageError for names that are not there; AdapterError where it cannot be driven.
    """

    framework = "numpy"
    priority = 70
    accepted = "an object (or class) with forward and backward: gv.verify(layer, primals)"

    def __init__(
        self,
        subject: Any,
        *,
        grads: Mapping[str, str | Callable[[Any], Any]] | None = None,
        params: Sequence[str] | None = None,
        forward: str = "",
        backward: str = "",
        loss: str | Callable[..., Any] | None = None,
        name: str = "",
    ) -> None:
        makes = isinstance(subject, (type, types.FunctionType, types.MethodType, functools.partial))
        self._factory = subject if makes else None
        self._template = _made(subject) if makes else subject
        self._asked: dict[str, Any] = {"forward": forward, "backward": backward, "loss": loss}
        self._grads, self._params = dict(grads or {}), params
        self._plan: discover.Plan | None = None
        self._traits: frozenset[str] = frozenset()
        self._kept_inputs: frozenset[str] = frozenset()
        self.unfed: frozenset[str] = frozenset()  #: what is fed and gets no gradient, though the parameters do
        self._twice: list[Any] = []  #: objects that ran forward more than once
        self._runs: list[tuple[Out, Any]] = []  #: the last few outputs with the objects that gave them, for ``again``
        self.name = name or type(self._template).__name__

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """Has a method for each direction, under usual names, and is not torch's."""
        if is_module(subject) or isinstance(subject, (types.FunctionType, types.MethodType, types.ModuleType)):
            return False
        return bool(has(subject, (*FORWARD, *LOSS)) and has(subject, (*BACKWARD, *DERIVATIVE)))

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> Layer:
        return cls(subject, **options)

    @property
    def traits(self) -> frozenset[str]:
        """Known after ``prepare`` or the first run."""
        return self._traits

    @property
    def stored(self) -> frozenset[str]:
        """The primals whose gradient is left on the object, where a later backward may write over it by design."""
        found = self._plan.parameters if self._plan is not None else ()
        return frozenset(p.name for p in found if p.source == "attribute") | self._kept_inputs

    def parameters(self) -> dict[str, Array]:
        """The parameters whose gradient is found, at their current values.

        Before ``prepare`` only those whose gradient has a place already are known.
        """
        plan = self._plan or discover.static(self._template, self._grads)
        table = arrays(self._template)
        return {p.name: np.array(table[p.paths[0]]) for p in plan.parameters if p.paths[0] in table}

    def prepare(self, primals: Arrays, constants: Mapping[str, Any]) -> None:
        """One trial run on a copy, to find the parameters and the traits.

        Weights that the first forward makes are parameters too: then a copy that has them takes the object's place.
        """
        check_primals(primals)
        cold = self._template
        found = self._try(primals, constants)
        late = self._late(primals, constants)
        if late is not None:
            self._template = late
            if len(self._try(primals, constants).parameters) <= len(found.parameters):
                self._template = cold
                self._try(primals, constants)

    def _late(self, primals: Arrays, constants: Mapping[str, Any]) -> Any:
        """A copy on which a forward made arrays that stay and that its output depends on, else None."""
        try:
            probe = self._probe(primals, constants)
            obj = probe.fresh()
            return obj if probe.lasting(obj) else None
        except AdapterError:  # it does not run twice: what it made is not there to stay
            return None

    def _probe(self, primals: Arrays, constants: Mapping[str, Any]) -> trials.Probe:
        def fresh() -> Any:
            return self._set_up({n: np.array(v) for n, v in primals.items()}, constants)[0]

        _, methods, fed = self._set_up({n: np.array(v) for n, v in primals.items()}, constants)
        return trials.Probe(methods=methods, fed=fed, constants=constants, fresh=fresh)

    def _try(self, primals: Arrays, constants: Mapping[str, Any]) -> discover.Plan:
        self._plan = None
        probe = self._probe(primals, constants)
        obj, methods, fed = self._set_up({n: np.array(v) for n, v in primals.items()}, constants)
        trial = probe.run(probe.fresh())
        n_inputs = sum(v.dtype.kind in "fc" for v in fed.values())
        n_constants = sum(isinstance(v, np.ndarray) and v.dtype.kind in "fc" for v in constants.values())
        self._plan = discover.find(
            trial,
            n_inputs,
            n_constants=n_constants,
            grads=self._grads,
            params=self._params,
            implicit=methods.implicit,
            matters=probe.matters,
        )
        floats = [v.shape for v in fed.values() if v.dtype.kind in "fc"]
        if trial.result is None and len(floats) == 1:
            self._plan = replace(self._plan, input_places=discover.input_places(trial, self._plan, floats[0]))
        self._kept_inputs = frozenset(fed) if trial.result is None else frozenset()
        self.unfed = self._without_place(trial, fed, methods)
        self._rates = bool(methods.table.having("rate")), rates_on(obj)
        if self._plan.uses("updated"):
            updated = [p for p in self._plan.parameters if p.source == "updated"]
            probe.verify_updates(updated, takes_rate=any(self._rates))
        lost = [n for n in primals if n not in fed and n not in self._plan.named()]
        if lost:
            raise AdapterError(
                f"{lost[0]!r} is on the {self.name} but no gradient of it was found after {methods.backward}; "
                f"say where it is: gv.layer(obj, grads={{{lost[0]!r}: 'd{lost[0]}'}})"
            )
        upstream = methods.table.having("upstream")
        adds = any(q in trial.doubled for p in self._plan.parameters for q in p.gradient)
        optional = bool(upstream) and not set(upstream) & signature(getattr(obj, methods.backward)).required
        found = {"no-upstream": methods.implicit, "upstream-optional": optional, "accumulates": adds}
        self._traits = frozenset(trait for trait, there in found.items() if there)
        return self._plan

    def _without_place(self, trial: discover.Trial, fed: Arrays, methods: Methods) -> frozenset[str]:
        """The inputs, if a backward that gives gradients of parameters has no place for those of inputs."""
        assert self._plan is not None
        floats = frozenset(n for n, v in fed.items() if v.dtype.kind in "fc")
        if not self._plan.parameters or not floats:
            return frozenset()
        try:
            found = of_inputs(self._plan, trial.root, trial.result, fed, methods)
        except AdapterError:  # the checks' runs will say it
            return frozenset()
        return floats - set(found)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The output (or the loss) on foreign arrays, as they are, on a fresh copy."""
        obj, methods, inputs = self._set_up(primals, constants)
        with Randomness().forward():
            return self.pick(methods.output(obj, inputs, constants))

    def pick(self, raw: tuple[Any, Any]) -> Any:
        """The output within (output, cache)."""
        return raw[0]

    def evaluate(self, case: Case) -> Out:
        """The forward (or the loss) alone, on a fresh copy."""
        obj, methods, inputs = self._set_up(given(case), case.constants)
        with Randomness().forward():
            return as_out(run(methods.forward, methods.output, obj, inputs, case.constants)[0], methods.forward)

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Forward on a fresh copy; the pullback runs backward on that copy and collects the gradients."""
        primals = given(case)
        if self._plan is None:
            self.prepare(case.primals, case.constants)
        plan = self._plan
        assert plan is not None
        obj, methods, inputs = self._set_up(primals, case.constants)
        randomness = Randomness()
        with randomness.forward():
            native, cache = run(methods.forward, methods.output, obj, inputs, case.constants)
        return self._pullback(case, plan, obj, methods, inputs, randomness, native, cache)

    def again(self, run_before: Run, case: Case) -> tuple[Out, Pullback]:
        """Forward once more, at ``case``, on the object of an earlier run, with the pullback of this forward.

        Raises Unsupported when that run is not among the last few of this adapter.
        """
        obj = next((o for out, o in self._runs if out is run_before.out), None)
        if obj is None or self._plan is None:
            raise Unsupported(f"that run of {self.name} is not kept any more")
        primals = given(case)
        inputs = {n: primals[n] for n in self._inputs(obj, list(primals), list(case.constants))}
        for n, v in primals.items():
            if n not in inputs:
                self._put(obj, n, v)
        methods = self._methods(obj, list(inputs), case.constants)
        if methods.implicit and methods.order and set(methods.order) <= methods.taken_by_backward:
            raise Unsupported(f"{methods.backward} takes the inputs itself: it belongs to no earlier forward")
        randomness = Randomness()
        self._twice = [*self._twice[-3:], obj]
        with randomness.forward():
            native, cache = run(methods.forward, methods.output, obj, inputs, case.constants)
        return self._pullback(case, self._plan, obj, methods, inputs, randomness, native, cache)

    def _pullback(
        self,
        case: Case,
        plan: discover.Plan,
        obj: Any,
        methods: Methods,
        inputs: dict[str, Any],
        randomness: Randomness,
        native: Any,
        cache: Any,
    ) -> tuple[Out, Pullback]:
        out = as_out(native, methods.forward)
        self._runs = [*self._runs[-3:], (out, obj)]
        in_place = plan.uses("updated") or any(self._rates)
        keep = in_place or plan.uses("recorded") or "accumulates" in self.traits
        state: list[Any] = [_copy((obj, native, cache, inputs), self.name)] if keep else []
        used = False

        def pullback(upstream: Out) -> Gradients:
            nonlocal used
            fresh = keep and (used or in_place)
            used = True
            work, result_out, saved, fed = _copy(state[0], self.name) if fresh else (obj, native, cache, inputs)
            recorder, constants = optimizers.install(work, case.constants)
            before = {p.name: np.array(get(work, p.paths[0])) for p in plan.parameters if p.source == "updated"}
            if in_place:
                set_rates(work, 1.0)
            with randomness.pullback():
                try:
                    result = run(
                        methods.backward, methods.gradient, work, upstream, result_out, saved, fed, constants, rate=1.0
                    )
                except AdapterError as error:
                    if any(o is obj for o in self._twice):  # it collects its forwards, or allows one at a time
                        raise Unsupported(f"after a second forward on the same object {error}") from error
                    raise
            return collect(
                plan,
                work,
                result,
                case.primals,
                methods=methods,
                inputs=list(inputs),
                before=before,
                recorder=recorder,
                upstream=upstream,
                out=out,
            )

        return out, pullback

    def _fresh(self) -> Any:
        try:
            return copy.deepcopy(self._template)
        except Exception as error:
            if self._factory is not None:
                return _made(self._factory)
            raise AdapterError(
                f"{self.name} cannot be copied ({type(error).__name__}: {error}); pass a factory that makes a new one: "
                f"gv.layer(lambda: {self.name}(...))"
            ) from error

    def _methods(self, obj: Any, inputs: Sequence[str], constants: Mapping[str, Any]) -> Methods:
        return methods_of(obj, list(inputs), list(constants), **self._asked)

    def _inputs(self, obj: Any, names: list[str], constants: list[str]) -> list[str]:
        """The primals that are fed to the forward; the others are arrays on the object."""
        known = self._plan.named() if self._plan is not None else {}
        forward = self._asked["forward"] or has(obj, (*FORWARD, *LOSS))
        sig = signature(getattr(obj, str(forward), None) or (lambda: None))
        fed = [n for n in names if n in sig.names]
        on_it = {label(p) for p in arrays(obj)} | set(self._grads) | set(known)
        needed = len(sig.required) - len(fed) - sum(c in sig.names for c in constants)
        others = sorted((n for n in names if n not in fed), key=lambda n: (n in known, n in on_it))
        fed += [n for i, n in enumerate(others) if n not in on_it or (i < needed and n not in known)]
        return [n for n in names if n in fed]

    def _set_up(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Methods, dict[str, Any]]:
        obj = self._fresh()
        inputs = self._inputs(obj, list(primals), list(constants))
        for n, v in primals.items():
            if n not in inputs:
                self._put(obj, n, v)
        return obj, self._methods(obj, inputs, constants), {n: primals[n] for n in inputs}

    def _put(self, obj: Any, name: str, value: Any) -> None:
        known = self._plan.named() if self._plan is not None else {}
        if name in known:
            paths = known[name].paths
        else:
            wanted = [g for g in groups(arrays(obj)) if any(label(p) == name for p in g)]
            paths = wanted[0] if wanted else (discover.parse_on(obj, name),)
        for path in paths:
            put(obj, path, value)


def _made(factory: Callable[..., Any]) -> Any:
    needs = sorted(signature(factory).required)
    if needs:
        what = getattr(factory, "__name__", "the factory")
        raise UsageError(
            f"{what} takes {signature(factory)}: pass an instance, or a factory such as "
            f"gv.layer(lambda: {what}({', '.join(needs)}))"
        )
    with Randomness().forward():
        return run(getattr(factory, "__name__", "the factory"), factory)


def _copy(thing: Any, name: str) -> Any:
    try:
        return copy.deepcopy(thing)
    except Exception as error:
        raise AdapterError(f"the state of {name} after its forward cannot be copied: {error}") from error
