"""Hand-made findings and generated reports, for the tests of reports, formats and commands."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gradverify.report import Report
from gradverify.types import Cause, Finding, Verdict


def finding(**changes: Any) -> Finding:
    """A pass; give a verdict and it gets a reason."""
    given: dict[str, Any] = {"adapter": "net", "case": "given", "check": "gradient", "of": "W", "verdict": Verdict.PASS}
    given |= {"oracle": "torch-autograd", "n_compared": 9, "gap": 1e-17, "resolution": 1.2e-11}
    given |= changes
    if given["verdict"] is not Verdict.PASS:
        given = {"why": "a reason", **given}
    return Finding(**given)


def failing(**changes: Any) -> Finding:
    """A transposed gradient, with everything a failure can say."""
    cause = Cause(name="transposed", evidence="got equals want transposed", suggestion="return dout.T @ x")
    given: dict[str, Any] = {
        "verdict": Verdict.FAIL,
        "n_wrong": 6,
        "index": (0, 2),
        "got": -1.038,
        "want": 0.421,
        "want_error": 3e-12,
        "gap": 1.459,
        "budget": 1.2e-7,
        "resolution": None,
        "why": "6 of 9 entries outside the budget",
        "causes": (cause,),
        "repeat": "gradverify check net.py:net --seed 0",
    }
    return finding(**{**given, **changes})


def report(*findings: Finding) -> Report:
    return Report.of(findings, seconds=0.034, seed=0, level="standard")


text = st.text(max_size=12)
floats = st.none() | st.floats()
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.sampled_from(["NaN", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text | st.just("$str"), inner, max_size=3),
    max_leaves=6,
)
causes = st.builds(Cause, name=text, evidence=text, suggestion=text, confidence=st.floats(0, 1))
findings = st.builds(
    Finding,
    adapter=text,
    case=text,
    check=text,
    of=text,
    verdict=st.sampled_from(Verdict),
    oracle=text,
    n_compared=st.integers(1, 10**6),
    n_wrong=st.integers(0, 10**6),
    index=st.none() | st.lists(st.integers(0, 99), max_size=3).map(tuple),
    got=floats,
    want=floats,
    want_error=floats,
    gap=floats,
    budget=floats,
    resolution=floats,
    why=st.text(min_size=1, max_size=12),
    notes=st.lists(text, max_size=2).map(tuple),
    blind_spots=st.lists(text, max_size=2).map(tuple),
    causes=st.lists(causes, max_size=2).map(tuple),
    repeat=text,
    seconds=st.floats(0, 1e6),
    evaluations=st.integers(0, 10**9),
    facts=st.dictionaries(text, plain, max_size=3),
)
reports = st.lists(findings, min_size=1, max_size=4).map(lambda rows: Report.of(rows, seconds=1.0, seed=3))
