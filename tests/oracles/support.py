"""Closed forms as forwards, and gradients through ``gv.verify`` with the value check alone."""

from __future__ import annotations

import numpy as np

import gradverify as gv
from gradverify.oracles.finite_differences import FiniteDifferences
from gradverify.sampling import Forward
from gradverify.types import Case

VALUE = "pullback-matches-oracle"


class ClosedForm:
    """An adapter that is only a forward: ``f(*primals) -> array``."""

    name = "closed form"
    traits = frozenset()

    def __init__(self, f):
        self.f = f

    def evaluate(self, case):
        return np.asarray(self.f(*case.primals.values()))

    call = None


def forward(f, upstream=None, **primals):
    """A Forward of ``f``; the upstream is all ones if it is not given."""
    given = {k: np.asarray(v) for k, v in primals.items()}
    out = np.asarray(f(*given.values()))
    case = Case(name="closed form", primals=given, upstream=np.ones(out.shape) if upstream is None else upstream)
    return Forward(ClosedForm(f), case)


def slope(f, x, accept=0.0):
    """What finite differences say of one number: the row of Slopes as plain values."""
    found = FiniteDifferences().entries(forward(f, x=np.array([float(x)])), "x", np.arange(1), accept=accept)
    return {k: np.asarray(v)[0] for k, v in vars(found).items()}


def verify(f, backward, x, **more):
    """The report on ``out = f(x)``, ``backward(upstream, x)``."""
    more = {"level": "quick", "checks": [VALUE], **more}
    return gv.verify((lambda x: (f(x), x), lambda upstream, x: {"x": backward(upstream, x)}), {"x": x}, **more)


def value(report):
    """The first finding about the value of the gradient."""
    return next(f for f in report.findings if f.check == VALUE)
