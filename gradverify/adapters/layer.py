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

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters import _discover as discover
from gradverify.adapters import _optimizer as optimizers
from gradverify.adapters import _trial as trials
from gradverify.adapters._arrays import as_out, check_primals, given, is_module
from gradverify.adapters._bind import run, signature
from gradverify.adapters._collect import collect, rates_on, set_rates, without_place
from gradverify.adapters._collecting import collects
from gradverify.adapters._ctx import is_ctx_function
from gradverify.adapters._methods import BACKWARD, DERIVATIVE, FORWARD, LOSS, Methods, has
from gradverify.adapters._plan import Plan
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._store import arrays, number
from gradverify.adapters._template import Template, copied, made
from gradverify.errors import AdapterError, Unsupported
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
        obj = made(subject) if makes else subject
        self.name = name or type(obj).__name__
        self._template = Template(
            obj=obj,
            factory=subject if makes else None,
            name=self.name,
            asked={"forward": forward, "backward": backward, "loss": loss},
            grads=dict(grads or {}),
        )
        self._params = params
        self._traits: frozenset[str] = frozenset()
        self._kept_inputs: frozenset[str] = frozenset()
        self.unfed: frozenset[str] = frozenset()  #: what is fed and gets no gradient, though the parameters do
        self._settings: dict[str, Any] = {}  #: what a backward that runs its own forward asks of it
        self.notes: tuple[str, ...] = ()
        self._twice: list[Any] = []  #: objects that ran forward more than once
        self._runs: list[tuple[Out, Any]] = []  #: the last few outputs with the objects that gave them, for ``again``

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """Has a method for each direction, under usual names, and is not torch's."""
        plain = isinstance(subject, (types.FunctionType, types.MethodType, types.ModuleType))
        other = plain or is_module(subject) or is_ctx_function(subject)
        return not other and bool(has(subject, (*FORWARD, *LOSS)) and has(subject, (*BACKWARD, *DERIVATIVE)))

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
        found = self._template.plan.parameters if self._template.plan is not None else ()
        return frozenset(p.name for p in found if p.source == "attribute") | self._kept_inputs

    def parameters(self) -> dict[str, Array]:
        """The parameters whose gradient is found, at their current values.

        Before ``prepare`` only those whose gradient has a place already are known.
        """
        plan = self._template.plan or discover.static(self._template.obj, self._template.grads)
        table = arrays(self._template.obj)
        return {p.name: np.array(table[p.paths[0]]) for p in plan.parameters if p.paths[0] in table}

    def prepare(self, primals: Arrays, constants: Mapping[str, Any]) -> None:
        """One trial run on a copy, to find the parameters and the traits.

        Weights that the first forward makes are parameters too: then a copy that has them takes the object's place.
        """
        check_primals(primals)
        cold = self._template.obj
        found = self._try(primals, constants)
        late = self._late(primals, constants)
        if late is not None:
            self._template.obj = late
            try:
                more = len(self._try(primals, constants).parameters) > len(found.parameters)
            except AdapterError:
                more = False
            if not more:
                self._template.obj = cold
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
            return self._template.set_up({n: np.array(v) for n, v in primals.items()}, constants)[0]

        _, methods, fed = self._template.set_up({n: np.array(v) for n, v in primals.items()}, constants)
        return trials.Probe(methods=methods, fed=fed, constants=constants, fresh=fresh)

    def _try(self, primals: Arrays, constants: Mapping[str, Any]) -> Plan:
        self._template.plan, self._settings = None, {}
        probe = self._probe(primals, constants)
        obj, methods, fed = self._template.set_up({n: np.array(v) for n, v in primals.items()}, constants)
        trial = probe.run(probe.fresh())
        n_inputs = sum(v.dtype.kind in "fc" for v in fed.values())
        n_constants = sum(isinstance(v, np.ndarray) and v.dtype.kind in "fc" for v in constants.values())
        plan = discover.find(
            trial,
            n_inputs,
            n_constants=n_constants,
            grads=self._template.grads,
            params=self._params,
            implicit=methods.implicit,
            updates=bool(methods.table.having("rate")),
            matters=probe.matters,
        )
        plan = self._template.plan = discover.with_input_places(trial, plan, fed)
        self._kept_inputs = frozenset(fed) if trial.result is None else frozenset()
        self.unfed = without_place(plan, trial, fed, methods)
        self._rates = bool(methods.table.having("rate")), rates_on(obj)
        updated = [p for p in plan.parameters if p.source == "updated"]
        if updated:
            probe.verify_updates(updated, takes_rate=any(self._rates))
        lost = [n for n in primals if n not in fed and n not in plan.named()]
        if lost:
            raise AdapterError(
                f"{lost[0]!r} is on the {self.name} but no gradient of it was found after {methods.backward}; "
                f"say where it is: gv.layer(obj, grads={{{lost[0]!r}: 'd{lost[0]}'}})"
            )
        upstream = methods.table.having("upstream")
        adds = any(q in trial.doubled for p in plan.parameters for q in p.gradient)
        optional = bool(upstream) and not set(upstream) & signature(getattr(obj, methods.backward)).required
        found = {"no-upstream": methods.implicit, "upstream-optional": optional, "accumulates": adds}
        self._traits = frozenset(trait for trait, there in found.items() if there)
        self._settings, calls = trial.settings, self._template.asked["loss"] or methods.loss or methods.forward
        self.notes = tuple(f"{methods.backward} runs {calls} with {k}={v!r}, which is used here too"
                           for k, v in trial.settings.items())  # fmt: skip
        return plan

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The output (or the loss) on foreign arrays, as they are, on a fresh copy."""
        obj, methods, inputs = self._template.set_up(primals, constants)
        with Randomness().forward():
            return self.pick(methods.output(obj, inputs, {**self._settings, **constants}))

    def pick(self, raw: tuple[Any, Any]) -> Any:
        """The output within (output, cache)."""
        return raw[0]

    def evaluate(self, case: Case) -> Out:
        """The forward (or the loss) alone, on a fresh copy."""
        obj, methods, inputs = self._template.set_up(given(case), case.constants)
        with Randomness().forward():
            return as_out(run(methods.forward, methods.output, obj, inputs, self._set(case))[0], methods.forward)

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Forward on a fresh copy; the pullback runs backward on that copy and collects the gradients."""
        primals = given(case)
        if self._template.plan is None:
            self.prepare(case.primals, case.constants)
        plan = self._template.plan
        assert plan is not None
        obj, methods, inputs = self._template.set_up(primals, case.constants)
        randomness = Randomness()
        with randomness.forward():
            native, cache = run(methods.forward, methods.output, obj, inputs, self._set(case))
        return self._pullback(case, plan, obj, methods, inputs, randomness, native, cache)

    def again(self, run_before: Run, case: Case) -> tuple[Out, Pullback]:
        """Forward once more, at ``case``, on the object of an earlier run, with the pullback of this forward.

        Raises Unsupported when that run is not among the last few of this adapter, or each use has its own upstream.
        """
        obj = next((o for out, o in self._runs if out is run_before.out), None)
        if obj is None or self._template.plan is None:
            raise Unsupported(f"that run of {self.name} is not kept any more")
        primals = given(case)
        inputs = {n: primals[n] for n in self._template.inputs(obj, list(primals), list(case.constants))}
        for n, v in primals.items():
            if n not in inputs:
                self._template.put(obj, n, v, update=True)
        methods = self._template.methods(obj, list(inputs), case.constants)
        if methods.runs_its_own_forward:
            raise Unsupported(f"{methods.backward} takes the inputs itself: it belongs to no earlier forward")
        randomness = Randomness()
        self._twice = [*self._twice[-3:], obj]
        with randomness.forward():
            native, cache = run(methods.forward, methods.output, obj, inputs, self._set(case))
        if collects(obj, methods, native, cache, inputs, case.constants):
            raise Unsupported(f"{self.name} collects its forwards: {methods.backward} takes an upstream for each")
        return self._pullback(case, self._template.plan, obj, methods, inputs, randomness, native, cache)

    def _pullback(
        self,
        case: Case,
        plan: Plan,
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
        state: list[Any] = [copied((obj, native, cache, inputs), self.name)] if keep else []
        used = False

        def pullback(upstream: Out) -> Gradients:
            nonlocal used
            fresh = keep and (used or in_place)
            used = True
            work, result_out, saved, fed = copied(state[0], self.name) if fresh else (obj, native, cache, inputs)
            recorder, constants = optimizers.install(work, case.constants)
            before = {p.name: np.array(number(work, p.paths[0])) for p in plan.parameters if p.source == "updated"}
            if in_place:
                set_rates(work, 1.0)
            with randomness.forward() if methods.runs_its_own_forward else randomness.pullback():
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

    def _set(self, case: Case) -> dict[str, Any]:
        return {**self._settings, **case.constants}
