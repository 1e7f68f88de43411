"""Consulting the oracles about one gradient until it is settled.

1. An autodiff of the forward answers for all entries at once; differences along a few directions confirm it.
2. Where there is none, or the two disagree, differences answer for every entry when that is affordable.
3. What may stand behind a difference (rounding, another convention at ties, a kink) is asked in turn; only what
   none of it explains is reported as different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gradverify import probes, rounding
from gradverify.answers import Answer
from gradverify.confirming import confirmed
from gradverify.directions import Direction, scales_of
from gradverify.errors import Unsupported
from gradverify.explanations import Difference, explain
from gradverify.explanations._its_rounding import AutodiffRounding
from gradverify.explanations.iterations import Iterations
from gradverify.oracles.complex_step import ComplexStep
from gradverify.oracles.finite_differences import FiniteDifferences
from gradverify.oracles.torch_autograd import Autodiff, TorchAutograd
from gradverify.sampling import Forward
from gradverify.second_opinions import along_segments, second_opinions
from gradverify.stacking import Stacked
from gradverify.tally import compact, largest, vanishing
from gradverify.types import Adapter, Array, Case, Estimate, Gradients, Measurement, seed_for

SECONDS = {"quick": 1.5, "standard": 8.0, "thorough": 60.0}  #: what differences of every entry may cost
SAMPLED = 4096  #: entries whose median stands for that of all
LARGE_CASE = 256 << 20  #: bytes of primals from which differences along directions answer alone
DEAR = 2e-3  #: seconds a forward: from here on what is clear after one run is not asked again


class Consultation:
    """One gradient, several oracles.

    adapter    whose forward is differentiated: the implementation's own, or a surrogate's
    got        the gradients to be settled, ``None`` for "not differentiable"
    measured   name of a primal (and differences to explain) -> measured absolute rounding of its gradient; costs
               backward passes, so asked late
    coarser    how many times coarser than its dtype the implementation computes
    gradients  (case) -> gradients of a fresh run of the implementation there
    eps        unit roundoff of each gradient
    """

    def __init__(
        self,
        adapter: Adapter,
        case: Case,
        got: Gradients,
        *,
        measured: Callable[..., Array],
        coarser: Callable[[], float] = lambda: 1.0,
        gradients: Callable[[Case], Gradients],
        eps: Mapping[str, float],
        level: str,
        oracles: tuple[str, ...] | None,
        seed: int,
    ) -> None:
        self.adapter, self.case, self.level, self.seed = adapter, case, level, seed
        self.rounding, self.gradients, self.eps, self.oracles = measured, gradients, eps, oracles
        self.coarser, self.seconds = coarser, SECONDS[level]
        self.forward = Forward(adapter, case)
        self.forward.many = Stacked(self.forward).along
        self.differences = FiniteDifferences()
        names = list(self.forward.names)
        self.missing = {k for k in names if got.get(k) is None}
        #: a network gives no gradient for what it is fed
        self.unfed = sorted(self.missing & set(getattr(adapter, "unfed", ())))
        self.got: dict[str, Array] = {}
        self.reshaped: dict[str, tuple[int, ...]] = {}  #: gradients of another shape with as many entries
        for k in names:
            if k not in self.unfed:
                self._take(k, got.get(k))
        self.names = list(self.got)
        self.forward.names = self.names  # only these are sampled
        self.autodiff: Autodiff | None = None
        self.its_rounding, self.iterations = AutodiffRounding(self), Iterations(self)
        self.declined: dict[str, str] = {}  #: oracle -> why it did not answer
        self.disagreements: list[str] = []  #: between oracles, a sentence each
        self.meant = False  #: a surrogate stops gradients on purpose: differences know nothing of that
        self.oracle_was_right = False  #: differences have sided with the autodiff against the implementation
        self.stopped: dict[str, float] = {}  #: primal -> the part of its gradient that an iteration leaves open
        self.symmetric: set[str] = set()  #: primals whose gradient is that over symmetric matrices
        self.jumps: dict[str, Array] = {}  #: entries whose derivative is another within one rounding of the inputs
        self._sizes: dict[str, float] = {}

    def _take(self, name: str, gradient: Array | None) -> None:
        """What is to be settled: zeros in place of None; nothing where the check "shape" has failed it already."""
        primal = self.case.primals[name]
        g = np.zeros(primal.shape) if gradient is None else np.asarray(gradient)
        if g.size != primal.size:
            return
        if g.shape != primal.shape:
            self.reshaped[name], g = g.shape, g.reshape(primal.shape)
        self.got[name] = g

    def elsewhere(self, case: Case) -> Consultation:
        """A quick consultation of the same at another point."""
        return Consultation(
            self.adapter, replace(case, upstream=self.case.upstream), self.got, measured=self.rounding,
            gradients=self.gradients, eps=self.eps, level="quick", oracles=self.oracles, seed=self.seed,
        )  # fmt: skip

    def settle(self) -> list[Measurement]:
        """One measurement per primal (or per probe where entries were unaffordable)."""
        if not self.names:
            return []
        answers = self.by_autodiff() or self._by_complex_step() or self._by_differences()
        if answers is None and not self.allows("finite-differences"):
            answers = {k: self._unanswered(k) for k in self.names}
        if answers is None:
            measured = probes.measure(self)
        else:
            measured = [self._resolved(name, self._compared(name, answers[name])) for name in self.names]
        others = second_opinions(self)
        if others and all(m.oracle == "none" for m in measured):
            return others  # asked for by name, and they answer along a direction or for the op as a whole
        return [*measured, *others]

    # --- what is known of the implementation and its forward ---------------------------------------------------

    @property
    def traced(self) -> bool:
        """Whether the autodiff came from a trace, which records ties (torch code's does not)."""
        return getattr(self.adapter, "framework", "numpy") == "numpy"

    @property
    def dear(self) -> bool:
        """Whether a forward takes long enough to be thought about."""
        return self.forward.cost() > DEAR

    def allows(self, oracle: str) -> bool:
        """Whether the user's choice of oracles includes this one."""
        if self.meant and oracle == "finite-differences":
            return False
        return self.oracles is None or oracle in self.oracles

    def direction(self, gradients: Mapping[str, Array], *names: str) -> Direction:
        """A random direction through all primals, each weighted by its gradient so that none is drowned."""
        return self.forward.direction(gradients, seed_for(self.seed, self.case.name, *names))

    def affordable(self, *, each: int = 16) -> bool:
        """Whether asking about every entry, ``each`` forwards an entry, stays within the level's time."""
        entries = sum(self.forward.base[k].size for k in self.names)
        return entries * each * self.forward.cost() <= self.seconds

    def size(self, name: str) -> float:
        """Natural magnitude of a gradient: its own largest entry, or what its terms would be if it is zero."""
        return self._largest(name) or self.natural(name)

    def _largest(self, name: str) -> float:
        """Largest finite magnitude of a gradient as it was got."""
        if name not in self._sizes:
            self._sizes[name] = largest(self.got[name])
        return self._sizes[name]

    def natural(self, name: str) -> float:
        """What the terms of a gradient may be: |upstream| |out| / |primal|."""
        some = self.case.primals[name].reshape(-1)
        if not some.size:
            return 0.0
        scale = scales_of(some[:: -(-some.size // SAMPLED)], self.forward.typical(name))
        return float(self.forward.noise_of(self.forward.origin) / self.forward.eps / np.median(scale))

    def underflow(self, name: str) -> float:
        """What may vanish: numbers below the smallest normal one of the dtype, times what they are multiplied with."""
        return vanishing(self.eps[name]) * (1.0 + float(np.max(np.abs(self.forward.weights), initial=0.0)))

    # --- the oracles that answer for every entry ---------------------------------------------------------------

    def by_autodiff(self) -> dict[str, Answer] | None:
        """PyTorch autograd of the forward, confirmed; None where it declines or is not believed."""
        oracle = TorchAutograd()
        if not self.allows(oracle.name):
            return None
        reason = oracle.supports(self.adapter, self.case) or self._too_large()
        if not reason:
            try:
                self.autodiff = oracle.gradient(self.adapter, self.case, self.forward.out)
            except Unsupported as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001  (user code on foreign arrays may fail in any way: it declines)
                reason = f"{type(error).__name__} under tracing: {error}"
        if reason or self.autodiff is None:
            self.declined[oracle.name] = reason
            return None
        answers = {k: Answer.of(v, oracle.name) for k, v in self.autodiff.gradients.items()}
        if not confirmed(self, answers):
            self.autodiff = None
            return None
        return answers

    def _too_large(self) -> str:
        """Why an autodiff is not asked unless by name: it holds everything twice in float64."""
        size = sum(v.nbytes for v in self.case.primals.values())
        if self.oracles is not None or self.level == "thorough" or size < LARGE_CASE:
            return ""
        return f"primals of {size / 2**20:.0f} MB: autodiff would hold several float64 copies; ask for it by name"

    def _by_complex_step(self) -> dict[str, Answer] | None:
        oracle = ComplexStep()
        if not self.allows(oracle.name) or not self.affordable(each=2):
            return None
        reason = oracle.supports(self.adapter, self.case)
        if not reason:
            try:
                answers = {k: Answer.of(v, oracle.name) for k, v in oracle.gradient(self.forward).items()}
            except Unsupported as error:
                reason = str(error)
            else:
                return answers if confirmed(self, answers) else None
        self.declined[oracle.name] = reason
        return None

    def _by_differences(self) -> dict[str, Answer] | None:
        if not self.allows("finite-differences") or not self.affordable():
            return None
        found = self.differences.gradient(self.forward, accept={k: 1e-8 * self.size(k) for k in self.names})
        return {
            k: replace(Answer.of(b.estimate, "finite-differences"), lower=b.lower, upper=b.upper)
            for k, b in found.items()
        }

    def _unanswered(self, name: str) -> Answer:
        """The oracles that were asked for do not apply, and no other may step in."""
        nothing = np.full(self.case.primals[name].shape, np.nan)
        reasons = [f"{oracle} declined: {why}" for oracle, why in self.declined.items() if why]
        return Answer.of(Estimate(value=nothing, error=nothing), "none", reasons)

    # --- one primal --------------------------------------------------------------------------------------------

    def _compared(self, name: str, answer: Answer) -> Measurement:
        want = answer.estimate.value
        if self.got[name].shape != want.shape:
            return self._measurement(name, answer, 0.0)
        allowance = rounding.floor_of(self.eps[name]) * largest(want) + self.underflow(name)
        difference = Difference(self, name, answer, allowance)
        explain(difference)
        return self._measurement(name, difference.answer, difference.allowance)

    def _measurement(self, name: str, answer: Answer, allowance: Array | float) -> Measurement:
        facts: dict[str, object] = {"primal": name}
        if self.autodiff is not None and self.autodiff.kinks:
            facts["kinks"] = list(self.autodiff.kinks)
        why = ""
        if name in self.reshaped:
            answer.notes.append(
                f"the gradient of {name} has shape {self.reshaped[name]}; its entries are compared in order"
            )
        if name in self.missing:
            facts["none"] = True
            why = f"backward gave no gradient (None) for {name}, which the output depends on"
        natural = self.natural(name)
        if name not in self.missing and not self._largest(name) and not np.any(self.got[name]):
            known = float(np.nanmax(compact(answer.estimate.error), initial=0.0))
            answer.notes.append(f"the gradient of {name} is zero to within {known:.0e}")
        return Measurement(
            of=f"gradient of {name}",
            got=self.got[name],
            want=answer.estimate,
            oracle=answer.oracle,
            rounding=allowance,
            scale=natural if name not in self.missing and self._is_zero(name, answer) else 0.0,
            natural=natural,
            eps=self.eps[name],
            ask=max(max(self.eps[name], self.forward.eps) ** 0.25, self.stopped.get(name, 0.0)),
            lower=answer.lower,
            upper=answer.upper,
            why=why,
            notes=tuple(n for n in answer.notes if n),
            facts=facts,
        )

    def _is_zero(self, name: str, answer: Answer) -> bool:
        """Whether the gradient is nothing but its own rounding: zero, as far as anybody can tell."""
        got = self.got[name]
        if not self._largest(name):
            return not np.any(got)
        vague = np.nanmax(compact(answer.estimate.error), initial=0.0) > 1e-6 * self._largest(name)
        same = got.shape == answer.estimate.value.shape
        return bool(vague and same and np.all(np.abs(got) <= 2 * self.rounding(name)))

    def _resolved(self, name: str, m: Measurement) -> Measurement:
        """A gradient that the differences cannot resolve is put to the line integral.

        Not where an iteration stops at a tolerance: its values along a segment are no better than its derivative.
        """
        error = compact(m.want.error)
        vague = np.isnan(error) | (error > m.ask * max(self.size(name), 1e-300))
        if self.got[name].shape == m.want.value.shape and vague.any() and name not in self.stopped:
            return along_segments(self, name, self.gradients, m)
        return m
