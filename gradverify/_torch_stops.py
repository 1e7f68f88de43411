"""The tolerance at which an iteration inside torch code stops: a single number is compared with a small one."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SMALL = 1e-3  #: a scalar compared with less decides when an iteration stops
COMPARED = frozenset("lt le gt ge less less_equal greater greater_equal __lt__ __le__ __gt__ __ge__".split())
LONGER = 64  #: iterations that a tighter tolerance may cost
TAKEN_OUT = frozenset(["item", "__float__"])


class Stops(TorchFunctionMode):  # type: ignore[misc]  # torch is optional, so mypy follows none of it
    """Inside, comparisons of single numbers are watched; ``tolerance`` is the largest small one met, else 0.

    by      below 1 the comparison is made with less, so that the iteration goes on
    longer  how many comparisons came out otherwise
    """

    def __init__(self, by: float = 1.0) -> None:
        super().__init__()
        self.tolerance, self.by, self.longer = 0.0, by, 0

    def met(self, bound: Any) -> bool:
        """Whether ``bound``, which a scalar was compared with, is a tolerance."""
        if isinstance(bound, torch.Tensor) and bound.numel() == 1 and not bound.requires_grad:
            bound = bound.detach().item()
        if not isinstance(bound, (int, float)) or not 0 < bound <= SMALL:
            return False
        self.tolerance = max(self.tolerance, float(bound))
        return self.by != 1.0 and self.longer < LONGER

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        if name in COMPARED and isinstance(result, torch.Tensor) and result.numel() == 1 and len(args) > 1:
            if self.met(args[1]):
                other = func(args[0], args[1] * self.by)
                self.longer += bool(other) != bool(result)
                return other
        elif name == "allclose":
            self.met(max(kwargs.get("atol", 1e-8), kwargs.get("rtol", 1e-5)))
        elif name in TAKEN_OUT and isinstance(result, float):
            for local, value in sys._getframe(1).f_locals.items():  # a plain number is compared where nobody sees it
                if "tol" in local.lower():
                    self.met(value)
        return result
