"""Randomness inside user code (dropout masks from ``np.random``) repeats itself, and the caller's state is kept."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from gradverify import draws


class Randomness:
    """The global generators as a forward left them, so that its pullback continues where the forward stopped.

    ``with Randomness().forward(): ...`` seeds; every later ``with same.pullback(): ...`` starts from the state at
    the end of the forward. Outside the blocks the caller's own states are untouched. torch is included once imported.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._after: tuple[Any, Any] | None = None
        self._after_torch: tuple[Any, Any] | None = None

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Seeded: every forward draws the same numbers."""
        with kept():
            torch = _seeded(self.seed)
            yield
            self._after = (np.random.get_state(), random.getstate())  # noqa: NPY002 - as above
            if torch is not None:
                on_device = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
                self._after_torch = (torch.default_generator.get_state(), on_device)

    @contextmanager
    def pullback(self) -> Iterator[None]:
        """As the forward left it: two pullbacks draw the same numbers, unless ``draws`` says otherwise."""
        with kept():
            if (other := draws.SEED.get()) is not None:
                _seeded(other)
                yield
                return
            if self._after is not None:
                np.random.set_state(self._after[0])  # noqa: NPY002 - as above
                random.setstate(self._after[1])
            if self._after_torch is not None:
                import torch

                # not the caller's state: after torch.manual_seed(0) a mask drawn anew would be that of the forward
                torch.default_generator.set_state(self._after_torch[0])
                if self._after_torch[1] is not None:
                    torch.cuda.set_rng_state_all(self._after_torch[1])
            yield


def _seeded(seed: int) -> Any:
    """Seed the global generators; torch, where it is imported."""
    np.random.seed(seed)  # noqa: NPY002 - the legacy global generator is what user code draws from
    random.seed(seed)
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "default_generator"):
        return None
    if torch.cuda.is_available():
        torch.manual_seed(seed)
    else:  # manual_seed formats the whole stack for a GPU that is not there: 0.3 ms a call
        torch.default_generator.manual_seed(seed)
    return torch


_OUTER = threading.local()  #: whether this thread has kept the global generators already


@contextmanager
def kept() -> Iterator[None]:
    """Restore the global generators on leaving, also after an exception; inside another such block nothing is done."""
    if getattr(_OUTER, "kept", False):
        yield
        return
    with ExitStack() as stack:
        _OUTER.kept = True
        stack.callback(setattr, _OUTER, "kept", False)
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - as above
        stack.callback(random.setstate, random.getstate())
        if (torch := sys.modules.get("torch")) is not None and hasattr(torch, "default_generator"):
            if torch.cuda.is_initialized():
                stack.enter_context(torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))))
            else:
                stack.callback(torch.default_generator.set_state, torch.default_generator.get_state())
        yield
