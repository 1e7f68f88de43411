"""Axes of length one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gradverify import registry
from gradverify.checks._resized import measured
from gradverify.types import Bench, Measurement


@registry.check("size-one-axes", catches=("unreduced-broadcast",), requires=("shape",))
def size_one_axes(bench: Bench) -> Iterator[Measurement]:
    """With an axis of length one every gradient keeps the shape of its primal and stays finite.

    Measured where the case says which axes may be resized together: ``attrs["axes"] = {"inputs": {"x": 1, "W": 1}}``.
    Why: one filter, one hidden unit, one class: ``squeeze``, ``[:, None]`` and broadcasting all change meaning there.
    Right: ``keepdims=True`` and explicit axes. Wrong: ``delta.squeeze()``.
    """
    axes = bench.case.attrs.get("axes", {})
    for label, which in axes.items() if isinstance(axes, Mapping) else ():
        yield from measured(bench, which, 1, f"one of {label}")
