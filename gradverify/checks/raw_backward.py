"""A custom backward is right by itself, before an engine repairs it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._layouts import strided
from gradverify.checks._tools import compared, copied, count, each, exact, largest, shape_measured, snapshot
from gradverify.errors import Unsupported, refusal
from gradverify.types import Array, Bench, Gradients, Measurement, Out, leaves


@registry.check("raw-backward", catches=("upstream-mutated", "unreduced-broadcast"), requires=("shape",))
def raw_backward(bench: Bench) -> Iterator[Measurement]:
    """What backward itself returns is what the engine makes of it, and its upstream stays as it was.

    Measured where the adapter offers ``raw_vjp(case)``: forward and backward called without the engine, with a
    contiguous and with a strided upstream. Shape and values are compared with those that come out of the engine;
    another dtype is noted.
    Why: torch sums an unreduced gradient, casts a wrong dtype and hides a mutated ``grad_output`` in a leaf. The same
    code called from another kernel, compiled, or ported is then wrong.
    Right: ``return g @ w, g.sum(0)``. Wrong: ``g.mul_(mask); return g @ w, g``.
    """
    raw_vjp = getattr(bench.adapter, "raw_vjp", None)
    if raw_vjp is None:
        raise Unsupported("no engine stands between backward and its caller")
    through = snapshot(bench.run().pullback(copied(bench.upstream)))
    for words, upstream in _upstreams(bench.upstream):
        before = copied(upstream)
        try:
            got = snapshot(raw_vjp(bench.case)[1](upstream))
        except Exception as error:
            if words and refusal(error, asserts=True):
                continue  # "upstream-layouts" notes it
            raise
        for name, u in leaves(before).items():
            after = np.asarray(leaves(upstream)[name])
            yield Measurement(
                of=f"upstream {name}".strip() + words, got=after.copy(), want=exact(u), scale=largest(u),
                why=f"backward wrote into its upstream gradient: {int(np.sum(after != u))} of {u.size} entries changed",
                facts={"leaf": name},
            )  # fmt: skip
        yield from _forms(got, through, words)
        fitting = [k for k, g in through.items() if (r := got.get(k)) is None or g is None or r.shape == g.shape]
        yield from compared(
            bench, {k: got[k] for k in fitting}, {k: through[k] for k in fitting}, f"without the engine{words}",
            f"is another one when backward is called without the engine{words}", times=4.0,
        )  # fmt: skip


def _upstreams(upstream: Out) -> Iterator[tuple[str, Out]]:
    yield "", copied(upstream)
    if any(np.asarray(v).ndim and np.size(v) > 1 for v in leaves(upstream).values()):

        def arranged(a: Array) -> Array:
            other = strided(a)
            return np.array(a) if other is None else other

        yield ", upstream strided", each(upstream, arranged)


def _forms(got: Gradients, through: Gradients, words: str) -> Iterator[Measurement]:
    """Shape and dtype of every gradient."""
    for name, want in through.items():
        raw = got.get(name)
        if raw is None or want is None:
            continue  # whether there is one is a matter of the values
        why = (
            f"backward returns shape {raw.shape} for {name} of shape {want.shape}; the engine sums it, nobody else does"
        )
        facts = {"primal": name, "got_shape": raw.shape, "want_shape": want.shape}
        yield shape_measured(f"shape of {name}{words}", raw.shape, want.shape, why, facts=facts)
        if raw.dtype != want.dtype:  # usual in mixed precision; how exact it is, the values say
            said = f"backward returns {raw.dtype} for {name}, which is {want.dtype}; the engine casts it"
            yield count(f"dtype of {name}{words}", 0, said, notes=(said,), facts={"primal": name})
