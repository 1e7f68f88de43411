"""Axes of length one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._axes import PARAMETER, Axes, said, sized, widths
from gradverify.checks._cropped import cropped
from gradverify.checks._resized import measured
from gradverify.errors import AdapterError, Unsupported
from gradverify.judge import judge
from gradverify.types import Bench, Measurement, Verdict


@registry.check("size-one-axes", catches=("unreduced-broadcast",), requires=("shape", "second-call-equal"))
def size_one_axes(bench: Bench) -> Iterator[Measurement]:
    """With an axis of length one every gradient keeps the shape of its primal and stays finite.

    Which axes may be resized together, the case says: ``attrs["axes"] = {"inputs": {"x": 1, "W": 1}}``. Else axes of
    one length are, where the forward follows them from one to one more than given; a length that an array has twice
    tells nothing, and the widths of parameters on an object stay. So do axes without which the forward takes a part
    only of another primal that it takes whole as given (``np.fft.rfft(k, n=len(x))``): it was not made for that. Nor
    are axes at which backward fails at two as well, or looks for an entry beyond the end: a window is longer. Nor is
    a signal that no parameter shares its length with, where backward raises.
    Why: one filter, one hidden unit, one class: ``squeeze``, ``[:, None]`` and broadcasting all change meaning there.
    Right: ``keepdims=True`` and explicit axes. Wrong: ``delta.squeeze()``.
    """
    samples = said(bench)
    met = 0
    for label, axes in widths(bench):
        if dict(axes) == dict(samples):
            continue
        found, error = _asked(bench, axes, 1, f"one of {label}")
        if isinstance(error, Unsupported):
            continue
        failed = [m.of for m in found if judge(m).verdict is Verdict.FAIL]
        if (failed or error) and not bench.case.attrs.get("axes") and _not_made_for_it(bench, axes, failed, error):
            continue
        if error is not None:
            raise error
        met += 1
        yield from found
    if not met:
        raise Unsupported("no axis that may have length one is known: say attrs={'axes': {'inputs': {'x': 1, 'W': 1}}}")


def _asked(bench: Bench, axes: Axes, length: int, words: str) -> tuple[list[Measurement], AdapterError | None]:
    try:
        return list(measured(bench, axes, length, words, poles=True)), None
    except AdapterError as error:
        return [], error


def _not_made_for_it(bench: Bench, axes: Axes, failed: list[str], error: AdapterError | None) -> bool:
    """Whether the code is for longer axes only, whatever the forward takes; a wrong number alone is no sign of that."""
    if error is not None and not any(PARAMETER.fullmatch(k) for k in axes):
        return True
    if error is not None and isinstance(error.__cause__, IndexError) and "out of bounds" in str(error):
        return True
    arrays = {**bench.case.constants, **bench.case.primals}
    loudly = error is not None or any("shape" in of for of in failed)
    if loudly and min(np.shape(arrays[k])[a] for k, a in axes.items()) > 2:
        found, other = _asked(bench, axes, 2, "two of them")
        if not isinstance(other, Unsupported) and (other or any(judge(m).verdict is Verdict.FAIL for m in found)):
            return True
    return bool(error is None and cropped(bench, sized(bench.case, axes, 1), axes))
