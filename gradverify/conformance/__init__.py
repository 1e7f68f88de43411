"""The suite that a third party runs on its own backend, from any directory::

    pytest --pyargs gradverify.conformance --gradverify-target=package.module:target

A target says which ops of the catalogue it has and computes them with their pullbacks; see ``Target``. From Python::

    from gradverify.conformance import check_invariants

    report = check_invariants("package.module:target", max_examples=50)

docs/conformance.md says how to write a target, what is asked of it, and how to waive a known failure.
"""

from gradverify.conformance.asking import ask, ask_invariant
from gradverify.conformance.code import as_code
from gradverify.conformance.loading import load_target
from gradverify.conformance.properties import check_invariants
from gradverify.conformance.target import Capabilities, Target

__all__ = ["Capabilities", "Target", "as_code", "ask", "ask_invariant", "check_invariants", "load_target"]
