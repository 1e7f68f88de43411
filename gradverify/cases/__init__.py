"""The catalogue: points to test every op of ``reference_impl`` at, data only, a file per family of ops.

A third party's op is checked by its name in the catalogue, at points that were chosen to tell right from wrong::

    from gradverify.cases import cases_of

    for case in cases_of("relu"):
        report = gv.verify((relu_forward, relu_backward), case.primals, constants=case.constants, name=case.name)
        report.raise_for_failures()

Names of arguments may differ from the catalogue's: primals then go by position. ``without={"kink"}`` leaves points
out by their tags: "edge" a degenerate shape or setting, "kink" a point where one-sided derivatives differ,
"saturated" where the derivative is nearly 0, "large" entries of size 1e4.
"""

from gradverify.cases._of import TAGS, cases_of, ops

__all__ = ["TAGS", "cases_of", "ops"]
