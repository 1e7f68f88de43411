"""Running an object once on a copy, to see what its methods leave behind and whether its updates show the gradient."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.adapters import _optimizer as optimizers
from gradverify.adapters._arrays import as_out
from gradverify.adapters._bind import run
from gradverify.adapters._collect import set_rates, verified_updates
from gradverify.adapters._methods import Methods
from gradverify.adapters._plan import Parameter, Trial
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._store import Path, arrays, lists, number, put, same
from gradverify.errors import AdapterError, GradverifyError
from gradverify.types import Array, Out, leaves


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One point to try an object at; ``fresh`` makes a copy of it with the parameters of that point."""

    methods: Methods
    fed: Mapping[str, Array]
    constants: Mapping[str, Any]
    fresh: Callable[[], Any]

    def run(self, obj: Any) -> Trial:
        """Forward and backward on ``obj``, and a second backward to see whether gradients are added up."""
        before = arrays(obj)
        trial = Trial(before=before, values=Trial.copies(before), root=obj)
        backward = self._forward(obj)
        trial.middle = arrays(obj)
        trial.middle_values = Trial.copies(trial.middle)
        trial.recorder, constants = optimizers.install(obj, self.constants)
        with self._heard(obj, trial.settings):
            trial.result = backward(1.0, constants)
        trial.after = arrays(obj)
        trial.after_values = Trial.copies(trial.after)
        written = [p for p in trial.after if trial.changed(p) and np.any(trial.after_values[p])]  # 2 * 0 tells nothing
        if written:
            n_pairs = len(trial.recorder.pairs) if trial.recorder is not None else 0
            try:
                backward(1.0, constants)
            except GradverifyError:  # it is only asked whether it adds; it may refuse to run twice
                return trial
            again = arrays(obj)
            trial.doubled |= {p for p in written if p in again and _twice(again[p], trial.after_values[p])}
            if trial.recorder is not None:
                del trial.recorder.pairs[n_pairs:], trial.recorder.places[n_pairs:]
        return trial

    @contextmanager
    def _heard(self, obj: Any, settings: dict[str, Any]) -> Iterator[None]:
        """Inside, what a backward that runs its own forward asks of it beyond the inputs and constants is noted."""
        name = self.methods.loss or self.methods.forward
        if not self.methods.runs_its_own_forward or not isinstance(name, str) or not hasattr(obj, "__dict__"):
            yield
            return
        fn = getattr(obj, name)

        def heard(*args: Any, **kwargs: Any) -> Any:
            sig = inspect.signature(fn)
            told = {k: v for k, v in sig.bind(*args, **kwargs).arguments.items() if v is not sig.parameters[k].default}
            named = {*self.fed, *self.constants, *self.methods.order}
            settings.update(
                {k: v for k, v in told.items() if k not in named and isinstance(v, (bool, int, float, str))}
            )
            return fn(*args, **kwargs)

        had = name in vars(obj)
        object.__setattr__(obj, name, heard)
        try:
            yield
        finally:
            object.__setattr__(obj, name, fn) if had else object.__delattr__(obj, name)

    def matters(self, paths: tuple[Path, ...]) -> bool:
        """Whether adding to the array at these paths changes the output."""
        outs = []
        for step in (0.0, 0.37):
            obj = self.fresh()
            value = np.array(number(obj, paths[0])) + step
            for path in paths:
                put(obj, path, value)
            outs.append(leaves(self._output(obj)))
        return any(not same(outs[1][k], outs[0][k]) for k in outs[0])

    def verify_updates(self, updated: Sequence[Parameter], *, takes_rate: bool) -> None:
        """Refuse what is not plain SGD with a known rate. Raises AdapterError."""
        who = self.methods.backward
        if not takes_rate:
            raise AdapterError(
                f"{who} changes {updated[0].name} in place and no learning rate was found (an argument or "
                "attribute lr, learning_rate, eta); say where the gradient is: gv.layer(obj, grads={'W': 'dW'})"
            )

        def update(rate: float) -> dict[str, Array]:
            obj = self.fresh()
            backward = self._forward(obj)
            before = {p.name: np.array(number(obj, p.paths[0])) for p in updated}
            backward(rate, self.constants)
            return {p.name: before[p.name] - number(obj, p.paths[0]) for p in updated}

        verified_updates(update, who)

    def lasting(self, obj: Any) -> set[Path]:
        """What a first forward of ``obj`` makes, a second one keeps, and the output depends on: late parameters.

        Afterwards ``obj`` has these, and nothing of what every forward adds to its lists.
        """
        before = set(arrays(obj))
        self._output(obj)
        lengths = {key: len(found) for key, found in lists(obj).items()}
        made = {p: v for p, v in arrays(obj).items() if p not in before and isinstance(v, np.ndarray)}
        given = {id(v) for v in self.constants.values()}
        values = Trial.copies(made)
        again = dataclasses.replace(self, fed={n: np.array(v) for n, v in self.fed.items()})
        again._output(obj)
        for key, found in lists(obj).items():
            each = len(found) - lengths.get(key, len(found))
            if each > 0:
                del found[max(0, lengths[key] - each) :]
        now = arrays(obj)
        kept = {p for p, v in made.items() if now.get(p) is v and id(v) not in given and same(v, values[p])}
        late = dataclasses.replace(self, fresh=lambda: copy.deepcopy(obj))
        return {p for p in kept if late.matters((p,))}

    def _output(self, obj: Any) -> Out:
        with Randomness().forward():
            return as_out(run(self.methods.forward, self.methods.output, obj, self.fed, self.constants)[0])

    def _forward(self, obj: Any) -> Callable[[float, Mapping[str, Any]], Any]:
        """Run the forward; the backward of that run, by learning rate and constants, with one random upstream."""
        methods, randomness = self.methods, Randomness()
        with randomness.forward():
            native, cache = run(methods.forward, methods.output, obj, self.fed, self.constants)
        out = as_out(native, methods.forward)
        draw = np.random.default_rng(0).standard_normal
        parts = {
            k: np.asarray(draw(v.shape), v.dtype if v.dtype.kind == "f" else float) for k, v in leaves(out).items()
        }

        def backward(rate: float, constants: Mapping[str, Any]) -> Any:
            set_rates(obj, rate)
            upstream: Out = parts if isinstance(out, Mapping) else np.array(parts[""])
            args = (obj, upstream, native, cache, self.fed, constants)
            with randomness.forward() if methods.runs_its_own_forward else randomness.pullback():
                return run(methods.backward, methods.gradient, *args, rate=rate)

        return backward


def _twice(value: Array, first: Array) -> bool:
    return np.shape(value) == first.shape and bool(np.allclose(value, 2 * first, rtol=1e-6, atol=0.0))
