"""The figure of the flow study: the gradient's norm by layer, a panel per group of networks. Needs matplotlib."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradverify.errors import need


def figure(rows: Sequence[Mapping[str, Any]], target: Path) -> Path:
    """Draw ``rows`` of the flow study into an SVG file, which appears whole or not at all.

    Raises MissingExtra without matplotlib.
    """
    matplotlib = need("matplotlib", "plot", "the figure of gradverify flow")
    matplotlib.use("Agg")
    pyplot = need("matplotlib.pyplot", "plot", "the figure of gradverify flow")
    groups = list(dict.fromkeys(r["group"] for r in rows))
    across = min(3, len(groups))
    down = -(-len(groups) // across)
    with matplotlib.rc_context({"svg.hashsalt": "gradverify", "svg.fonttype": "none", "font.size": 8}):
        drawing, panels = pyplot.subplots(down, across, figsize=(4.6 * across, 3.6 * down), squeeze=False)
        for panel, group in zip(panels.flat, groups, strict=False):
            for network in dict.fromkeys(r["network"] for r in rows if r["group"] == group):
                line = [r for r in rows if (r["group"], r["network"]) == (group, network)]
                panel.plot([r["layer"] for r in line], [r["gradient_norm"] for r in line], ".-", label=network, lw=1)
            panel.set(yscale="log", title=group, xlabel="layer", ylabel="norm of dL/dW")
            panel.legend(fontsize=6)
        for panel in list(panels.flat)[len(groups) :]:
            panel.set_axis_off()
        drawing.tight_layout()
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            drawing.savefig(beside, format="svg", metadata={"Date": None})
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)
            pyplot.close(drawing)
    return target
