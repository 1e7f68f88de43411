"""Axes of length one."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify import registry
from gradverify.checks._axes import said, sized, widths
from gradverify.checks._cropped import cropped
from gradverify.checks._resized import measured
from gradverify.errors import Unsupported
from gradverify.judge import judge
from gradverify.types import Bench, Measurement, Verdict


@registry.check("size-one-axes", catches=("unreduced-broadcast",), requires=("shape", "second-call-equal"))
def size_one_axes(bench: Bench) -> Iterator[Measurement]:
    """With an axis of length one every gradient keeps the shape of its primal and stays finite.

    Which axes may be resized together, the case says: ``attrs["axes"] = {"inputs": {"x": 1, "W": 1}}``. Else axes of
    one length are, where the forward follows them from one to one more than given; a length that an array has twice
    tells nothing, and the widths of parameters on an object stay. So do axes without which the forward takes a part
    only of another primal that it takes whole as given (``np.fft.rfft(k, n=len(x))``): it was not made for that.
    Why: one filter, one hidden unit, one class: ``squeeze``, ``[:, None]`` and broadcasting all change meaning there.
    Right: ``keepdims=True`` and explicit axes. Wrong: ``delta.squeeze()``.
    """
    samples = said(bench)
    met = 0
    for label, axes in widths(bench):
        if dict(axes) == dict(samples):
            continue
        try:
            found = list(measured(bench, axes, 1, f"one of {label}", poles=True))
        except Unsupported:
            continue
        if any(judge(m).verdict is Verdict.FAIL for m in found) and cropped(bench, sized(bench.case, axes, 1), axes):
            continue
        met += 1
        yield from found
    if not met:
        raise Unsupported("no axis that may have length one is known: say attrs={'axes': {'inputs': {'x': 1, 'W': 1}}}")
