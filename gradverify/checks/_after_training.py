"""A layer in eval mode that was trained before: what train mode left on the object is still there."""

from __future__ import annotations

from typing import Any

from gradverify.checks._modes import turned_on
from gradverify.checks._tools import copied
from gradverify.errors import Unsupported
from gradverify.types import Adapter, Bench, Case, Out, Pullback, Run


class AfterTraining:
    """Runs in the given mode, forward and backward, before every run in the other one on the same object.

    bench    of the mode that comes first
    resting  the adapter in the other mode; its forward alone is that of a new object
    word     what the other mode is called where modes are words
    Raises Unsupported for an adapter without an object that keeps something.
    """

    def __init__(self, bench: Bench, resting: Adapter, word: str) -> None:
        if not isinstance(vars(bench.adapter).get("_runs"), list):
            raise Unsupported("no object keeps anything between two forwards")
        self._bench, self._resting, self._word = bench, resting, word
        self.name = resting.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resting, name)

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """One step in the first mode, then the forward in the other one."""
        adapter: Any = self._bench.adapter
        out, pullback = adapter.vjp(self._bench.case)
        pullback(copied(self._bench.upstream))
        obj = next(o for made, o in adapter._runs if made is out)
        turned_on(obj, self._word)
        found: tuple[Out, Pullback] = adapter.again(Run(given={}, constants={}, out=out, pullback=pullback), case)
        return found
