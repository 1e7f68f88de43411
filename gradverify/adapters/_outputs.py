"""(out, cache) and several outputs: what a forward returned, taken apart as its backward expects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.adapters._roles import Roles
from gradverify.errors import AdapterError
from gradverify.types import Out

MISSING: Any = object()  #: the forward returned no cache (which may itself be None)


def split(raw: Any, table: Roles, *, one_output: bool = False) -> tuple[Any, Any]:
    """(out, cache). Several upstream parameters mean several outputs, named after them: ``dh`` belongs to ``h``."""
    if not isinstance(raw, tuple) or not raw:
        return raw, MISSING
    upstreams = table.having("upstream")
    n = 1 if one_output else max(1, len(upstreams))
    if len(raw) < n + (n > 1 and table.takes_cache):
        names = ", ".join(upstreams)
        raise AdapterError(f"backward takes {n} upstream gradients ({names}) but forward returned {len(raw)} values")
    rest = raw[n:]
    cache = MISSING if not rest else rest[0] if len(rest) == 1 else rest
    return raw[0] if n == 1 else {_bare(p): v for p, v in zip(upstreams, raw[:n], strict=True)}, cache


def by_parameter(table: Roles, upstream: Out) -> dict[str, Any]:
    """The upstream for each parameter that takes one, the inverse of ``split``; arrays are handed over as they are.

    A 0-d array goes over as a NumPy scalar: people write ``backward(1.0)``, and ``dout *= 2`` writes into no number.
    """
    wanted = table.having("upstream") or [""]
    if not isinstance(upstream, Mapping):
        return {wanted[0]: _number(upstream)}
    if len(wanted) == 1:
        return {wanted[0]: {k: _number(v) for k, v in upstream.items()}}
    return {p: _number(upstream[_bare(p)]) for p in wanted}


def _number(upstream: Any) -> Any:
    return upstream[()] if isinstance(upstream, np.ndarray) and upstream.ndim == 0 else upstream


def _bare(parameter: str) -> str:
    for prefix in ("grad_", "d_", "d", "g"):
        if parameter.startswith(prefix) and len(parameter) > len(prefix):
            return parameter.removeprefix(prefix)
    return parameter
