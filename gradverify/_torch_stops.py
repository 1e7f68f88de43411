"""The tolerance at which an iteration inside torch code stops: a single number is compared with a small one."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

SMALL = 1e-3  #: a scalar compared with less decides when an iteration stops
LONGER = 64  #: iterations that a tighter tolerance may cost
COMPARED = frozenset(["lt", "le", "gt", "ge"])


class Stops:
    """Inside, comparisons of single numbers are watched; ``tolerance`` is the largest small one met, else 0.

    by      below 1 the comparison is made with less, so that the iteration goes on
    longer  how many comparisons came out otherwise
    """

    def __init__(self, by: float = 1.0) -> None:
        self.tolerance, self.by, self.longer = 0.0, by, 0
        self._modes = ExitStack()

    def __enter__(self) -> Stops:
        self._modes.enter_context(_Operations(self))
        self._modes.enter_context(_Calls(self))
        return self

    def __exit__(self, *error: object) -> None:
        self._modes.close()

    def met(self, bound: Any) -> bool:
        """Note ``bound``, which a scalar was compared with; whether the comparison is to be made with less."""
        if not isinstance(bound, (int, float)) or not 0 < bound <= SMALL:
            return False
        self.tolerance = max(self.tolerance, float(bound))
        return self.by != 1.0 and self.longer < LONGER


class _Operations(TorchDispatchMode):  # type: ignore[misc]  # torch is optional, so mypy follows none of it
    """Reaches the operations inside backward, too."""

    def __init__(self, seen: Stops) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in COMPARED and result.numel() == 1:
            bound = args[1].item() if isinstance(args[1], torch.Tensor) else args[1]
            if self.seen.met(bound):
                other = func(args[0], args[1] * self.seen.by)
                self.seen.longer += bool(other) != bool(result)
                return other
        elif name == "_local_scalar_dense" and isinstance(result, float):
            # item() and float(): a plain number is compared where nobody sees it
            for local, value in _users_locals().items():
                if "tol" in local.lower():
                    self.seen.met(value)
        return result


def _users_locals() -> dict[str, Any]:
    """The names where torch was called, below its own frames and ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("torch", "gradverify"):
        frame = frame.f_back
    return {} if frame is None else frame.f_locals


class _Calls(TorchFunctionMode):  # type: ignore[misc]  # as above
    """Sees calls as they are written."""

    def __init__(self, seen: Stops) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "allclose":
            self.seen.met(max(kwargs.get("atol", 1e-8), kwargs.get("rtol", 1e-5)))
        return func(*args, **kwargs)
