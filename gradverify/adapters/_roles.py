"""What each parameter of a backward means, read from its name and, where that says nothing, from its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gradverify.adapters._bind import Bundle, Signature, hint
from gradverify.errors import AdapterError

UPSTREAM = re.compile(
    r"^(d|dL|dl|dJ)_?[A-Z]\w*$|^d_\w+$|^d(out|y|a|z|h|c|x|s|o|l|s|v|values|inputs|outputs?|next|prev|loss|scores|logits|upper|top|u|p|q|k)"
    r"(_?\w*)$|^(accum_?|out_?|output_?|upstream_?|next_?|prev_?|previous_?|top_?|in_?|error_?|loss_?)?(grad|gradient|deriv)s?(_?\w*)$|^upstream\w*$"
    r"|^delta\w*$|^(g|gy|gz|gh|gc|gout|gx|gxs|gys|ct|cotangent|cot|err|errors?|nabla\w*|v|u|bar|top_diff|\w+_(grad|bar|delta|gradient))$"
)
NOT_UPSTREAM = {
    "data",
    "dim",
    "dims",
    "debug",
    "depth",
    "dtype",
    "device",
    "dropout",
    "decay",
    "degree",
    "derivative",
    "deriv",
}
CACHE = re.compile(
    r"^(\w*cache\w*|ctx|context|saved\w*|mem|memory|residuals?|res|tape|state|store\w*|tmp|intermediates?|history)$"
)
OUT = {
    "out",
    "output",
    "outputs",
    "activation_output",
    "activated",
    "y_hat",
    "yhat",
    "y_pred",
    "result",
    "forward_output",
}
RATE = {"lr", "learning_rate", "eta", "learn_rate", "step_size", "learningrate", "rate", "learningRate"}


@dataclass(frozen=True, kw_only=True)
class Roles:
    """parameter -> role: ``upstream, cache, out, rate, bundle, unknown``, or ``primal:x``, ``constant:y``, ``kept:0``.

    ``bundle`` is all primals as one dict; ``kept:`` the cache where a parameter is called like a primal, ``kept:0`` its
    first part.
    ``unknown`` is looked up in a cache that has names, when the forward has run.
    """

    of: Mapping[str, str]
    splat: str = ""  #: what goes into ``*args``: "cache", "upstream-cache" or ""
    keywords: tuple[str, ...] = ()  #: names that go into ``**kwargs``

    def having(self, role: str) -> list[str]:
        return [p for p, r in self.of.items() if r == role]

    @property
    def takes_cache(self) -> bool:
        return bool(self.having("cache")) or bool(self.splat)

    @property
    def takes_upstream(self) -> bool:
        return bool(self.having("upstream")) or self.splat == "upstream-cache"


def roles(
    sig: Signature,
    primals: Collection[str],
    constants: Collection[str],
    *,
    upstream: bool = True,
    aliases: Mapping[str, str] | None = None,
) -> Roles:
    """Classify the parameters of a backward.

    upstream  whether a parameter that nothing else explains may be the upstream gradient (the first one that is left)
    aliases   the forward's parameter -> the name of the primal or constant that it gets
    """
    aliases = dict(aliases or {})
    of: dict[str, str] = {}
    caches = [p for p in sig.names if CACHE.match(p)]
    for p in sig.names:
        if isinstance(aliases.get(p), Bundle):  # the forward takes its parameters as one dict of this name
            of[p] = "bundle"
        elif (name := _known(p, primals, aliases)) is not None:
            of[p] = f"primal:{name}"
        elif caches == [p] and p in constants:  # the forward takes a cache of its own; the backward wants that run's
            of[p] = "cache"
        elif (name := _known(p, constants, aliases)) is not None:
            of[p] = f"constant:{name}"
        elif CACHE.match(p):
            of[p] = "cache"
        elif p in RATE:
            of[p] = "rate"
        elif UPSTREAM.match(p) and p not in NOT_UPSTREAM:
            of[p] = "upstream"
        elif p in OUT:
            of[p] = "out"
        else:
            of[p] = "unknown" if p in sig.required else "default"
    if upstream and "upstream" not in of.values():
        _find_upstream(of)
    left = [p for p, r in of.items() if r == "unknown"]
    if left and "cache" not in of.values():
        if len(left) == len(primals) and len(left) > 1:
            of |= {p: f"primal:{n}" for p, n in zip(left, primals, strict=True)}
        elif len(left) == 1:
            of[left[0]] = "cache-or-out"
    splat = ""
    if sig.star:
        has_upstream = "upstream" in of.values() or not upstream
        splat = "cache" if has_upstream else "upstream-cache"
    return Roles(of=of, splat=splat, keywords=tuple(constants) if sig.double_star else ())


def _known(parameter: str, names: Collection[str], aliases: Mapping[str, str]) -> str | None:
    if parameter in names:
        return parameter
    if aliases.get(parameter) in names:
        return aliases[parameter]
    return None


def _find_upstream(of: dict[str, str]) -> None:
    """The first parameter that nothing explains; else one that is named like a gradient and like a primal (``g``)."""
    for wanted in ("unknown", "default"):
        for p, r in of.items():
            if r == wanted and (wanted == "unknown" or UPSTREAM.match(p)):
                of[p] = "upstream"
                return
    for p, r in of.items():
        if r.startswith("primal:") and UPSTREAM.match(p) and len(of) > 1 and p not in ("x", "z"):
            of[p] = "upstream"
            return


def fill(
    table: Roles,
    *,
    upstream: Mapping[str, Any],
    primals: Mapping[str, Any],
    constants: Mapping[str, Any],
    out: Any,
    cache: Any,
    has_cache: bool,
    who: str,
    rate: Any = None,
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of the backward for one run. ``upstream`` is by parameter (or under ``""`` for ``*args``)."""
    values: dict[str, Any] = {}
    for p, role in table.of.items():
        kind, _, name = role.partition(":")
        if kind == "primal":
            values[p] = primals[name]
        elif kind == "kept":
            values[p] = cache[int(name)] if name else cache
        elif kind == "bundle":
            values[p] = dict(primals)
        elif kind == "constant":
            values[p] = constants[name]
        elif kind == "upstream":
            if p in upstream:
                values[p] = upstream[p]
        elif kind == "out":
            values[p] = cache[p] if isinstance(cache, Mapping) and p in cache else out
        elif kind == "rate":
            if rate is not None:
                values[p] = rate
        elif kind == "cache" or (kind == "cache-or-out" and has_cache and not _named_in(cache, p)):
            if not has_cache and p in constants:
                cache = constants[p]
            elif not has_cache:
                raise AdapterError(f"{who} takes {p}, but forward returned no cache: return (out, cache)")
            values[p] = cache
        elif kind == "cache-or-out" and not has_cache:
            values[p] = out
        elif kind in ("unknown", "cache-or-out"):
            if not _named_in(cache, p):
                known = [*primals, *constants, "upstream", "cache"]
                raise AdapterError(
                    f"{who} takes {p}, which is no primal, constant, upstream or cached value{hint(p, known)}; an "
                    "upstream is called like a gradient (dout, grad_h), what forward kept is called cache"
                )
            values[p] = cache[p]
    args: list[Any] = []
    for p in list(table.of):
        if p not in values:
            break
        args.append(values.pop(p))
    if table.splat == "upstream-cache":
        args += list(upstream.values())
    if table.splat and has_cache:
        args += list(cache) if isinstance(cache, (tuple, list)) and table.splat == "cache" else [cache]
    elif table.splat:
        used = {r.partition(":")[2] for r in table.of.values()}
        args += [v for n, v in primals.items() if n not in used]
    return args, values | {n: constants[n] for n in table.keywords if f"constant:{n}" not in table.of.values()}


def _named_in(cache: Any, name: str) -> bool:
    return isinstance(cache, Mapping) and name in cache
