"""Objects that collect their forwards in lists, for a backward that is given a list with one upstream for each."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._methods import Methods
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._store import lists
from gradverify.types import differentiable


def collects(
    obj: Any, methods: Methods, native: Any, cache: Any, inputs: Mapping[str, Any], constants: Mapping[str, Any]
) -> bool:
    """Whether backward on ``obj``, after two forwards, turns a list of two upstreams into two gradients of the input.

    It is tried on a copy, and only where something on the object is a list of several.
    """
    floats = [v for v in inputs.values() if differentiable(v)]
    if len(floats) != 1 or isinstance(native, Mapping) or all(len(found) < 2 for found in lists(obj).values()):
        return False
    several: Any = [np.ones(shape_of(native))] * 2
    try:
        with Randomness().pullback():
            raw = methods.gradient(copy.deepcopy(obj), several, native, cache, inputs, constants, rate=1.0)
    except Exception:  # noqa: BLE001  (whatever code that wants an array raises for a list: it does not collect)
        return False
    return isinstance(raw, (list, tuple)) and [shape_of(v) for v in raw] == 2 * [shape_of(floats[0])]
