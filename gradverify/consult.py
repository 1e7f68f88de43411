"""Consulting the oracles about one gradient until it is settled.

1. An autodiff of the forward answers for all entries at once; differences along a few directions confirm it.
2. Where there is none, or the two disagree, differences answer for every entry when that is affordable.
3. Entries that do not match are looked at one by one: the one-sided derivatives (a kink?), the other conventions at
   ties, a second ladder. Only what survives is reported as different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gradverify import probes, rounding
from gradverify.coarse import NOTE, WORTH_A_NOTE
from gradverify.directions import Direction, scales_of
from gradverify.errors import AdapterError, Unsupported
from gradverify.faint import FAR, doubtful, narrowed
from gradverify.oracles._ladder import NOTHING, Slopes
from gradverify.oracles._line import NEAR, NEAREST, Line
from gradverify.oracles.complex_step import ComplexStep
from gradverify.oracles.finite_differences import FiniteDifferences
from gradverify.oracles.torch_autograd import Autodiff, TorchAutograd, stops_of
from gradverify.points import beside
from gradverify.sampling import Forward
from gradverify.second_opinions import along_segments, second_opinions
from gradverify.stacking import Stacked
from gradverify.symmetric import NOTE as OVER_SYMMETRIC
from gradverify.symmetric import over_symmetric
from gradverify.tally import Columns, any_outside, compact, largest, outside
from gradverify.tolerances import going_on
from gradverify.types import Adapter, Array, Case, Estimate, Gradients, Measurement, rng_for, seed_for

RESOLVABLE = 256.0  #: roundings of the forward's value, per natural unit of the primals, that differences cannot see
EPSILON_APART = 1e-3  #: relative difference that an epsilon inside a logarithm may make and still be a convention
HULL = 8.0  #: widths of the interval of the one-sided slopes that a choice at ties may be beside it
BEHIND = 4.0  #: times what the derivative of an iteration still moves if it goes on
STEPS_BEHIND = 10.0  #: tolerances of an iterative solver that its derivative may be off by, relative to the terms
CONVENTIONS = ("second", "zero", "split", "all")  #: at ties and kinks, after "first"
WORST, RANDOM = 24, 8  #: how many differing entries are looked at one by one
FEW = 3  #: so many where the trace met no kink, or another primal has already shown that the oracle is right
SECONDS = {"quick": 1.5, "standard": 8.0, "thorough": 60.0}  #: what differences of every entry may cost
DIRECTIONS = {"quick": 1, "standard": 1, "thorough": 4}
SAMPLED = 4096  #: entries whose median stands for that of all
LARGE_CASE = 256 << 20  #: bytes of primals from which differences along directions answer alone
DEAR = 2e-3  #: seconds a forward: from here on what is clear after one run is not asked again
NEARLY = 0.05  #: of a gap: differences this close to one side of it have taken that side
MET = 1e-7  #: of the root mean square contribution: differences this close to an autodiff have met it
MEANT = "the surrogate stops or passes gradients on purpose: judged by its autograd, which differences contradict"


@dataclass
class Answer:
    """What is known of one gradient so far."""

    estimate: Estimate
    oracle: str
    lower: Array
    upper: Array
    notes: list[str] = field(default_factory=list)


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
        self.coarser = coarser
        self.forward = Forward(adapter, case)
        self.forward.many = Stacked(self.forward).along
        self.names = list(self.forward.names)
        self.missing = {k for k in self.names if got.get(k) is None}
        unfed = self.missing & set(getattr(adapter, "unfed", ()))
        self.unfed = sorted(unfed)
        self.names = [k for k in self.names if k not in unfed]  #: a network gives no gradient for what it is fed
        self.got: dict[str, Array] = {}
        self._sizes: dict[str, float] = {}
        self.reshaped: dict[str, tuple[int, ...]] = {}  #: gradients of another shape with as many entries
        for k in list(self.names):
            shape = case.primals[k].shape
            g = np.zeros(shape) if got.get(k) is None else np.asarray(got[k])
            if g.shape != shape and g.size != case.primals[k].size:
                self.names.remove(k)  # the check "shape" has failed it; there is nothing to compare
                continue
            if g.shape != shape:
                self.reshaped[k], g = g.shape, g.reshape(shape)
            self.got[k] = g
        self.forward.names = self.names  # only these are sampled
        self.differences = FiniteDifferences()
        self.declined: dict[str, str] = {}  #: oracle -> why it did not answer
        self.disagreements: list[str] = []
        self._further: Gradients | None = None  #: the gradients where the implementation's iterations go on
        self.stopped: dict[str, float] = {}  #: primal -> the tolerance that its gradient is known to, of an iteration
        self.autodiff: Autodiff | None = None
        self._autodiff_once: dict[str, Array] | None = None  #: the rounding of the autodiff as one run shows it
        self._autodiff_spread: dict[str, Array] | None = None
        self._tolerance: float | None = None  #: of an iteration inside torch code, once asked for
        self.symmetric: set[str] = set()  #: primals whose gradient is that over symmetric matrices
        self.meant = False  #: a surrogate stops gradients on purpose: differences know nothing of that
        self._jumps: dict[str, Array] = {}  #: entries whose derivative is another within one rounding of the inputs
        self._oracle_was_right = False  #: differences have sided with the autodiff against the implementation

    def settle(self) -> list[Measurement]:
        """One measurement per primal (or per probe where entries were unaffordable)."""
        if not self.names:
            return []
        answers = self._autodiff() or self._complex() or self._every_entry()
        if answers is None and not self.allows("finite-differences"):
            answers = {k: self._unanswered(k) for k in self.names}
        if answers is None:
            measured = probes.measure(self)
        else:
            measured = [self._resolved(name, self._compare(name, answers[name])) for name in self.names]
        others = second_opinions(self)
        if others and all(m.oracle == "none" for m in measured):
            return others  # asked for by name, and they answer along a direction or for the op as a whole
        return [*measured, *others]

    def _unanswered(self, name: str) -> Answer:
        """The oracles that were asked for do not apply, and no other may step in."""
        nothing = np.full(self.case.primals[name].shape, np.nan)
        reasons = [f"{oracle} declined: {why}" for oracle, why in self.declined.items() if why]
        return Answer(Estimate(value=nothing, error=nothing), "none", nothing, nothing, reasons)

    def _resolved(self, name: str, m: Measurement) -> Measurement:
        """A gradient that the differences cannot resolve is put to the line integral.

        Not where an iteration stops at a tolerance: its values along a segment are no better than its derivative.
        """
        error = compact(m.want.error)
        vague = np.isnan(error) | (error > m.ask * max(self._size(name), 1e-300))
        if self.got[name].shape == m.want.value.shape and vague.any() and name not in self.stopped:
            return along_segments(self, name, self.gradients, m)
        return m

    @property
    def _traced(self) -> bool:
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

    def _autodiff(self) -> dict[str, Answer] | None:
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
        answers = {k: _plain(v, oracle.name) for k, v in self.autodiff.gradients.items()}
        if not self._confirmed(answers):
            self.autodiff = None
            return None
        return answers

    def _too_large(self) -> str:
        """Why an autodiff is not asked unless by name: it holds everything twice in float64."""
        size = sum(v.nbytes for v in self.case.primals.values())
        if self.oracles is not None or self.level == "thorough" or size < LARGE_CASE:
            return ""
        return f"primals of {size / 2**20:.0f} MB: autodiff would hold several float64 copies; ask for it by name"

    def _confirmed(self, answers: Mapping[str, Answer]) -> bool:
        """Differences along random directions must agree with the autodiff, or it is not believed."""
        if not self.allows("finite-differences"):
            return True
        named = next((a.oracle for a in answers.values()), "")
        values = {k: answers[k].estimate.value for k in self.names}
        unknown = any(np.isnan(compact(answers[k].estimate.error)).any() for k in self.names)
        for i in range(0 if unknown else DIRECTIONS[self.level]):
            tangent = self.direction(values, f"direction/{i}")
            said, size = tangent.times(values)
            agrees, slopes = self._along(tangent, said, size, answers)
            if agrees is None:
                continue
            if not agrees:
                value, error = float(slopes.value[0]), float(slopes.error[0])
                if getattr(self.adapter, "declared", False) and getattr(self.adapter, "framework", "") == "torch":
                    self.meant = True
                    for a in answers.values():
                        a.notes.append(MEANT)
                    return True
                self.disagreements.append(
                    f"along a random direction {named} says {said:.9e}, finite differences {value:.9e} ± {error:.1e}"
                )
                return self._tie_broken(tangent, said) or self._right_beside(said, slopes)
            for k in self.names:
                answers[k].oracle = f"{named}+finite-differences"
        return True

    def direction(self, gradients: Mapping[str, Array], *names: str) -> Direction:
        """A random direction through all primals, each weighted by its gradient so that none is drowned."""
        return self.forward.direction(gradients, seed_for(self.seed, self.case.name, *names))

    def _along(
        self, tangent: Direction, said: float, size: float, answers: Mapping[str, Answer]
    ) -> tuple[bool | None, Slopes]:
        """Whether differences along a direction agree with a slope; None where they do not know."""
        # too small an error claimed here can only make them disagree: the noise is measured when they do
        rounding_only = self.forward.noise_of(self.forward.origin)
        line = Line(self.forward, tangent, rounding_only)
        for step, slope in ((NEAREST, line.one), (NEAR, lambda: line.two().value)):
            if 4 * rounding_only / step <= MET * size and abs(slope() - said) <= MET * size:
                return True, NOTHING
        known = {k: float(np.max(compact(answers[k].estimate.error), initial=0.0)) for k in self.names}
        doubt = sum(error * tangent.length(k) for k, error in known.items())
        slopes, agrees = NOTHING, None
        for measured in (False, True):
            if measured:
                line.floor = self.differences.noise_floor(self.forward)
            slopes = self.differences.on(line, accept=1e-7 * size)
            value, error = float(slopes.value[0]), float(slopes.error[0])
            agrees = None
            if np.isfinite(error):
                low, high = min(float(slopes.lower[0]), value - error), max(float(slopes.upper[0]), value + error)
                # below this no difference of samples says anything, however well a few of them happen to agree
                slack = doubt + 1e-12 * size + RESOLVABLE * rounding_only
                agrees = bool(low - slack <= said <= high + slack)
                if agrees:
                    break
        return agrees, slopes

    def _tie_broken(self, tangent: Direction, said: float) -> bool:
        """A second ladder decides whether the disagreement is real."""
        half = {k: 0.37 * v for k, v in tangent.items()}
        said *= 0.37
        slopes = self.differences.along(self.forward, half, accept=1e-7 * abs(said))
        error = 2 * float(slopes.error[0])
        agreed = bool(np.isfinite(error) and abs(float(slopes.value[0]) - said) <= error + 1e-12 * abs(said))
        if agreed:
            self.disagreements.pop()
        return agreed

    def _right_beside(self, said: float, slopes: Slopes) -> bool:
        """At ties a choice for each is linear, the function is not: the autodiff is confirmed where nothing is tied.

        Its slope at the ties must be near the one-sided ones all the same.
        """
        if self.autodiff is None or not self.autodiff.kinks or not self._traced or not slopes.kink[0]:
            return False
        low, high = min(float(slopes.lower[0]), 0.0), max(float(slopes.upper[0]), 0.0)
        margin = HULL * (float(slopes.upper[0]) - float(slopes.lower[0]))
        if not low - margin <= said <= high + margin:
            return False
        there = beside(self.case, rng_for(self.seed, self.case.name, "beside"), f"{self.case.name}, beside")
        other = Consultation(
            self.adapter, replace(there, upstream=self.case.upstream), self.got, measured=self.rounding,
            gradients=self.gradients, eps=self.eps, level="quick", oracles=self.oracles, seed=self.seed,
        )  # fmt: skip
        try:
            confirmed = other._autodiff() is not None and other.autodiff is not None and not other.autodiff.kinks
        except AdapterError:
            return False
        if confirmed:
            self.disagreements.pop()
        return confirmed

    def _complex(self) -> dict[str, Answer] | None:
        oracle = ComplexStep()
        if not self.allows(oracle.name) or not self.affordable(each=2):
            return None
        reason = oracle.supports(self.adapter, self.case)
        if not reason:
            try:
                answers = {k: _plain(v, oracle.name) for k, v in oracle.gradient(self.forward).items()}
            except Unsupported as error:
                reason = str(error)
            else:
                return answers if self._confirmed(answers) else None
        self.declined[oracle.name] = reason
        return None

    def affordable(self, *, each: int = 16) -> bool:
        """Whether asking about every entry, ``each`` forwards an entry, stays within the level's time."""
        entries = sum(self.forward.base[k].size for k in self.names)
        return entries * each * self.forward.cost() <= SECONDS[self.level]

    def _every_entry(self) -> dict[str, Answer] | None:
        if not self.allows("finite-differences") or not self.affordable():
            return None
        accept = {k: 1e-8 * self._size(k) for k in self.names}
        found = self.differences.gradient(self.forward, accept=accept)
        answers = {}
        for k, b in found.items():
            answers[k] = Answer(
                b.estimate, "finite-differences", b.lower, b.upper, [b.estimate.note] if b.estimate.note else []
            )
        return answers

    def _size(self, name: str) -> float:
        """Natural magnitude of a gradient: its own largest entry, or what its terms would be if it is zero."""
        return self._largest(name) or self._natural(name)

    def _largest(self, name: str) -> float:
        """Largest finite magnitude of a gradient as it was got."""
        if name not in self._sizes:
            self._sizes[name] = largest(self.got[name])
        return self._sizes[name]

    def _natural(self, name: str) -> float:
        """What the terms of a gradient may be: |upstream| |out| / |primal|."""
        some = self.case.primals[name].reshape(-1)
        if not some.size:
            return 0.0
        scale = scales_of(some[:: -(-some.size // SAMPLED)], self.forward.typical(name))
        return float(self.forward.noise_of(self.forward.origin) / self.forward.eps / np.median(scale))

    def _is_zero(self, name: str, answer: Answer) -> bool:
        """Whether the gradient is nothing but its own rounding: zero, as far as anybody can tell."""
        got = self.got[name]
        if not self._largest(name):
            return not np.any(got)
        vague = np.nanmax(compact(answer.estimate.error), initial=0.0) > 1e-6 * self._largest(name)
        same = got.shape == answer.estimate.value.shape
        return bool(vague and same and np.all(np.abs(got) <= 2 * self.rounding(name)))

    # --- one primal -------------------------------------------------------------------------------------------

    def _compare(self, name: str, answer: Answer) -> Measurement:
        got = self.got[name]
        if got.shape != answer.estimate.value.shape:
            return self._measurement(name, answer, 0.0)
        allowance = rounding.floor_of(self.eps[name]) * largest(answer.estimate.value) + self._underflow(name)
        if not self._differs(name, answer, allowance):
            return self._measurement(name, *self._faint(name, answer, allowance))
        return self._measurement(name, *self._explained(name, answer, allowance))

    def _faint(self, name: str, answer: Answer, allowance: Array | float) -> tuple[Answer, Array | float]:
        """The allowance where entries far below the largest are off: only as much as their own rounding."""
        want = answer.estimate.value
        if self.autodiff is None or self.autodiff.kinks or self.autodiff.thresholds or not self._traced:
            return answer, allowance
        part, least = max(self.eps[name], self.forward.eps) ** 0.25, FAR * self._underflow(name)
        which = doubtful(self.got[name], want, part, least)
        if which is None or name in self.missing:
            return answer, allowance
        if self._autodiff_spread is None:
            self._autodiff_spread = self._spread_of_autodiff(rounding.RUNS)
        own, theirs = self.rounding(name), self._autodiff_spread.get(name)
        floor = rounding.floor_of(self.eps[name]) * largest(self.got[name])
        if theirs is None or theirs.shape != want.shape or not np.any(own > floor):
            return answer, allowance  # nothing was measured
        gap = np.abs(self.got[name] - want)
        narrow = narrowed(allowance, which, gap, want, np.maximum(own - floor, 0.0) + theirs, self.eps[name])
        error = np.where(narrow < allowance, 0.0, answer.estimate.error)
        if not np.any(narrow < allowance):
            return answer, allowance
        return replace(answer, estimate=replace(answer.estimate, error=error)), narrow

    def _explained(self, name: str, answer: Answer, allowance: Array | float) -> tuple[Answer, Array | float]:
        """What may stand behind a difference, the cheapest first; what is left is looked at entry by entry."""
        gap = np.abs(self.got[name] - answer.estimate.value)
        first = answer, allowance
        hopeless = self._beyond_rounding(name, *first, gap)
        if not hopeless:
            answer, allowance = self._with_rounding(name, answer, allowance, gap)
        if self.autodiff is not None and self.autodiff.thresholds and self._differs(name, answer, allowance):
            answer = self._stopped_early(name, answer, self.autodiff.stops, self.autodiff.thresholds)
        if not self._traced and self._differs(name, answer, allowance) and (stops := self._torch_stops()):
            answer = self._stopped_early(name, answer, stops, stops)
        if self.autodiff is not None and self.autodiff.epsilons and self._differs(name, answer, allowance):
            answer = self._without_epsilon(name, answer, allowance)
        if self._differs(name, answer, allowance):
            answer = self._over_symmetric(name, answer, allowance)
        if self._differs(name, answer, allowance):
            answer = self._other_conventions(name, answer, allowance)
        different = self._different(name, answer, allowance)
        if different.any() and self.allows("finite-differences"):
            answer = self._one_by_one(name, answer, allowance, different)
            if hopeless and not self._beyond_rounding(name, answer, allowance, gap):  # the oracle was wrong there
                answer, allowance = self._with_rounding(name, answer, allowance, gap)
        return answer, allowance

    def _with_rounding(
        self, name: str, answer: Answer, allowance: Array | float, gap: Array
    ) -> tuple[Answer, Array | float]:
        """The measured rounding of the implementation, and of the autodiff where that does not suffice."""
        if name not in self.missing:
            near = np.maximum(gap - answer.estimate.error, 0.0)
            measured = self.rounding(name, gap if self.dear else None, near=near)
            allowance = np.maximum(measured, allowance) + self._underflow(name)
            if self.coarser() > WORTH_A_NOTE:
                answer.notes.append(NOTE.format(self.coarser()))
        if self.autodiff is not None and self._differs(name, answer, allowance):
            answer = self._with_its_rounding(name, answer, allowance)
        return answer, allowance

    def _beyond_rounding(self, name: str, answer: Answer, allowance: Array | float, gap: Array) -> bool:
        """Whether an entry differs by more than cancellation costs anybody: then no dear run is made to measure that.

        Not where another explanation of large differences must be compared to within rounding.
        """
        known = self.autodiff
        if known is None or known.kinks or known.stops or known.epsilons or not self.dear:
            return False
        beyond = rounding.HOPELESS * self.eps[name] * max(largest(answer.estimate.value), largest(self.got[name]))
        return bool(np.any(gap[self._different(name, answer, allowance)] > beyond))

    def _underflow(self, name: str) -> float:
        """What may vanish: numbers below the smallest normal one of the dtype, times what they are multiplied with."""
        kind = (
            np.float16 if 2.0**-11 < self.eps[name] < 2.0**-9 else np.float32 if self.eps[name] > 1e-8 else np.float64
        )
        least = np.finfo(kind).smallest_subnormal if kind is np.float16 else np.finfo(kind).tiny
        return 16.0 * float(least) * (1.0 + float(np.max(np.abs(self.forward.weights), initial=0.0)))

    def _torch_stops(self) -> float:
        """The tolerance that an iteration inside torch code stops at, 0 where there is none."""
        if self._tolerance is None:
            self._tolerance = stops_of(self.adapter, self.case)
        return self._tolerance

    def _stopped_early(self, name: str, answer: Answer, stops: float, thresholds: float) -> Answer:
        """An iteration that stops at a tolerance has a derivative only to about that tolerance (Gilbert 1992).

        J. C. Gilbert, "Automatic differentiation and iterative processes", Optim. Methods Softw. 1 (1992): the
        derivative of the iterates converges like the iterates, one factor of the number of steps behind. How far it
        still was from its limit shows where the iteration goes on for longer. The backward may iterate, too.
        """
        tolerance, size = stops or thresholds, largest(answer.estimate.value)
        moved, own = self._gone_on(name, answer), self._own_gone_on(name)
        doubt = BEHIND * (moved or 0.0) + BEHIND * (own or 0.0)
        if moved is None:
            doubt += STEPS_BEHIND * stops * (size + self._natural(name))
        elif own is None and moved > 0:
            doubt += STEPS_BEHIND * stops * size
        if doubt == 0:
            return answer
        note = f"the forward stops at a tolerance of {tolerance:g}: its derivative is known no better"
        estimate = replace(answer.estimate, error=answer.estimate.error + doubt)
        self.stopped[name] = tolerance
        return Answer(estimate, answer.oracle, answer.lower, answer.upper, [*answer.notes, note])

    def _gone_on(self, name: str, answer: Answer) -> float | None:
        """How far the gradient still moves where the iteration does not stop yet; None where it cannot go on."""
        if self.autodiff is None:
            return None
        try:
            further = TorchAutograd().gradient(self.adapter, self.case, self.forward.out, tighter=True)
        except Unsupported:
            return None
        moved = np.abs(further.gradients[name].value - answer.estimate.value)
        return float(np.max(moved, initial=0.0)) if np.all(np.isfinite(moved)) else None

    def _own_gone_on(self, name: str) -> float | None:
        """How far the implementation's own gradient still moves; None where it cannot be made to go on."""
        if self._further is None:
            self._further = going_on(self.gradients, self.case, getattr(self.adapter, "framework", "numpy")) or {}
        further, got = self._further.get(name), self.got[name]
        if further is None or np.shape(further) != got.shape:
            return None
        moved = np.abs(np.asarray(further, dtype=float) - got)
        return float(np.max(moved, initial=0.0)) if np.all(np.isfinite(moved)) else None

    def _without_epsilon(self, name: str, answer: Answer, allowance: Array | float) -> Answer:
        """log(p + 1e-7) differentiated as log(p): the loss that is meant, if the gradient is exactly that of it."""
        gap, size = np.abs(self.got[name] - answer.estimate.value), np.abs(answer.estimate.value)
        apart = float(np.max(gap, initial=0.0)) / (float(np.max(size, initial=0.0)) or 1.0)
        if not self._traced or not apart <= EPSILON_APART:
            return answer
        try:
            other = TorchAutograd().gradient(self.adapter, self.case, self.forward.out, without_epsilon=True)
        except Unsupported:
            return answer
        candidate = _plain(other.gradients[name], answer.oracle)
        if self._differs(name, candidate, allowance):
            return answer
        note = f"the gradient is that of the loss without the epsilon inside its logarithm: {apart:.0e} apart"
        candidate.notes = [*answer.notes, note]
        return candidate

    def _spread_of_autodiff(self, runs: int) -> dict[str, Array]:
        return rounding.of_oracle(
            lambda case: TorchAutograd().gradient(self.adapter, case, self.forward.out).gradients,
            self.case,
            rng_for(self.seed, self.case.name, "oracle rounding"),
            runs,
        )

    def _with_its_rounding(self, name: str, answer: Answer, allowance: Array | float) -> Answer:
        """The answer with the measured rounding of the autodiff itself: 1 - tanh^2 cancels for it as for anybody."""
        if self.dear and self._autodiff_spread is None:
            if self._autodiff_once is None:
                self._autodiff_once = self._spread_of_autodiff(1)
            once = self._autodiff_once.get(name)
            gap = np.abs(self.got[name] - answer.estimate.value)
            if once is not None and once.shape == gap.shape and np.any(gap > rounding.CLEAR * (once + allowance)):
                return answer
        if self._autodiff_spread is None:
            self._autodiff_spread = self._spread_of_autodiff(rounding.RUNS)
        spread = self._autodiff_spread.get(name)
        if spread is None or spread.shape != answer.estimate.error.shape:
            return answer
        self._jumps[name] = np.isnan(spread)
        estimate = replace(answer.estimate, error=np.maximum(answer.estimate.error, np.nan_to_num(spread, nan=0.0)))
        return Answer(estimate, answer.oracle, answer.lower, answer.upper, answer.notes)

    def _differs(self, name: str, answer: Answer, allowance: Array | float) -> bool:
        return any_outside(self._columns(name, answer, allowance))

    def _different(self, name: str, answer: Answer, allowance: Array | float) -> Array:
        """The entries that are neither close to the answer, nor between its bounds, or of which it does not know."""
        return outside(self._columns(name, answer, allowance)).reshape(answer.estimate.value.shape)

    def _columns(self, name: str, answer: Answer, allowance: Array | float) -> Columns:
        want = answer.estimate
        return Columns.of(self.got[name], want.value, want.error, allowance, answer.lower, answer.upper)

    def _over_symmetric(self, name: str, answer: Answer, allowance: Array | float) -> Answer:
        """The gradient over symmetric matrices, where forward reads one triangle of a symmetric one."""
        estimate = over_symmetric(self.case.primals[name], answer.estimate)
        if estimate is None:
            return answer
        candidate = Answer(
            estimate, answer.oracle, estimate.value, estimate.value, [*answer.notes, OVER_SYMMETRIC.format(name)]
        )
        if self._differs(name, candidate, allowance):
            return answer
        self.symmetric.add(name)
        return candidate

    def _other_conventions(self, name: str, answer: Answer, allowance: Array | float) -> Answer:
        """At a kink the forward's autodiff knows one convention; the implementation may follow another."""
        if self.autodiff is None or not self.autodiff.kinks:
            return answer
        for ties in CONVENTIONS:
            try:
                other = TorchAutograd().gradient(self.adapter, self.case, self.forward.out, ties=ties)
            except (Unsupported, AdapterError):
                return answer
            candidate = _plain(other.gradients[name], answer.oracle)
            if not self._differs(name, candidate, allowance) and self._kinked(name, candidate, answer, allowance):
                candidate.notes = [
                    *answer.notes,
                    f"at a kink or tie the convention is {ties!r} ({'; '.join(other.kinks)})",
                ]
                return candidate
        return answer

    def _kinked(self, name: str, candidate: Answer, answer: Answer, allowance: Array | float) -> bool:
        """A convention is one only where the function has a kink: where it is smooth the derivative is no choice."""
        apart = np.abs(candidate.estimate.value - answer.estimate.value) > allowance
        where = np.flatnonzero(apart.ravel())[:RANDOM]
        found = self.differences.entries(self.forward, name, where, accept=0.01 * self._size(name))
        got = self.got[name].ravel()[where]
        with np.errstate(invalid="ignore"):
            smooth = ~found.kink & np.isfinite(found.error) & (found.error < 0.1 * np.abs(found.value - got))
        return not smooth.any()

    def _one_by_one(self, name: str, answer: Answer, allowance: Array | float, different: Array) -> Answer:
        """Differences at the entries that differ: is it a kink, the oracle, or the implementation."""
        where = np.flatnonzero(different.ravel())
        gaps = np.abs(self.got[name] - answer.estimate.value).ravel()[where]
        order = np.argsort(-np.nan_to_num(gaps, nan=np.inf))
        rng = rng_for(self.seed, self.case.name, name, "entries")
        sure = self.autodiff is not None and (self._oracle_was_right or (self._traced and not self.autodiff.kinks))
        sure = sure and not (name in self._jumps and self._jumps[name].any())
        few = 1 if self.dear else FEW
        worst = min(few if sure else WORST, max(1, int(SECONDS[self.level] / 4 / 40 / max(self.forward.cost(), 1e-9))))
        picked, rest = where[order[:worst]], where[order[worst:]]
        if rest.size and not sure:
            picked = np.concatenate([picked, rng.choice(rest, min(RANDOM, worst, rest.size), replace=False)])
        answer, cleared = self._looked_at(name, answer, allowance, picked)
        self._oracle_was_right |= not cleared
        if cleared and rest.size:
            # everything looked at turned out to be right: look at the others too before saying so
            others = np.setdiff1d(where, picked)
            budget = SECONDS[self.level] / max(self.forward.cost(), 1e-9) / 40
            answer, _ = self._looked_at(name, answer, allowance, others[: int(budget)])
        return answer

    def _looked_at(self, name: str, answer: Answer, allowance: Array | float, picked: Array) -> tuple[Answer, bool]:
        got, want = self.got[name].ravel(), answer.estimate
        gaps = np.abs(got[picked].astype(float) - want.value.ravel()[picked])
        reference = np.where(np.isfinite(gaps) & (gaps > 0), gaps, self._size(name))
        # a trace that met no tie knows that the kink is beside the point, if it is not within its rounding
        exact = self.autodiff is not None and self._traced and not self.autodiff.kinks
        jumps = self._jumps.get(name, np.zeros(want.value.shape, bool))
        if exact and not jumps.any() and len(picked) <= FEW and self._met(name, want.value, picked, gaps):
            return replace(answer, oracle=_confirmed(answer.oracle)), False
        only_differences = answer.oracle == "finite-differences"
        found = self.differences.against(
            self.forward, name, picked, got[picked], accept=0.02 * reference, shrink=0.37 if only_differences else 1.0
        )
        value, error = want.value.ravel().copy(), want.error.ravel().copy()
        lower, upper = answer.lower.ravel().copy(), answer.upper.ravel().copy()
        allowed = np.broadcast_to(
            np.asarray(allowance, float), got.shape if np.ndim(allowance) == 0 else np.shape(allowance)
        ).ravel()
        natural = self._natural(name)
        cleared, notes, kinks = True, list(answer.notes), 0
        for row, i in enumerate(picked):
            counts = not exact or bool(jumps.flat[i])
            _merge(found, row, int(i), (value, error, lower, upper), kinks_count=counts, natural=natural)
            kinks += int(upper[i] > lower[i])
            inside = lower[i] - allowed[i] <= got[i] <= upper[i] + allowed[i] and upper[i] > lower[i]
            cleared &= bool(inside or abs(got[i] - value[i]) <= error[i] + allowed[i])
        shape = want.value.shape
        if kinks:
            notes.append(f"{kinks} entries lie at a kink; accepted inside the interval of the one-sided derivatives")
        estimate = replace(want, value=value.reshape(shape), error=error.reshape(shape))
        return Answer(estimate, _confirmed(answer.oracle), lower.reshape(shape), upper.reshape(shape), notes), cleared

    def _met(self, name: str, want: Array, picked: Array, gaps: Array) -> bool:
        """Whether differences come out at the oracle's numbers at these entries, far from what was got."""
        with np.errstate(invalid="ignore"):
            return all(
                self.differences.meets(self.forward, name, int(i), float(want.flat[i]), NEARLY * float(gap))
                for i, gap in zip(picked, gaps, strict=True)
            )

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
        natural = self._natural(name)
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
            ask=max(self.eps[name], self.forward.eps, self.stopped.get(name, 0.0)) ** 0.25,
            lower=answer.lower,
            upper=answer.upper,
            why=why,
            notes=tuple(n for n in answer.notes if n),
            facts=facts,
        )


def _confirmed(oracle: str) -> str:
    """The name of an oracle that differences were asked beside."""
    return oracle if "finite-differences" in oracle else f"{oracle}+finite-differences"


def _plain(estimate: Estimate, oracle: str) -> Answer:
    return Answer(estimate, oracle, estimate.value, estimate.value, [estimate.note] if estimate.note else [])


def _merge(
    found: Slopes, row: int, i: int, into: tuple[Array, Array, Array, Array], *, kinks_count: bool, natural: float
) -> None:
    """What differences say of entry ``i``: a kink replaces the estimate, a smooth disagreement takes its place too."""
    value, error, lower, upper = into
    f_value, f_error = found.value[row], found.error[row]
    if found.kink[row] and not kinks_count and np.isfinite(error[i]):
        return
    if found.kink[row]:
        lower[i], upper[i] = found.lower[row], found.upper[row]
        value[i], error[i] = f_value, 0.0
    elif np.isfinite(f_error):
        if not np.isfinite(error[i]) and f_error > max(0.5 * abs(f_value), 1e-2 * natural):
            return  # an error larger than the value says nothing, unless it is small against all that is summed here
        known = np.isfinite(error[i])
        agrees = known and abs(f_value - value[i]) <= f_error + error[i]
        if not known or (not agrees and upper[i] == lower[i]):
            value[i], error[i] = f_value, f_error
            lower[i] = upper[i] = f_value
