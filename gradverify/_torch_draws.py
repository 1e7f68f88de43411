"""Random numbers in float64 that are those of a narrow dtype: a mask is the same at every precision."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

MADE = frozenset(["rand", "rand_like", "randn", "randn_like", "normal", "uniform", "bernoulli"])
FILLED = frozenset(["uniform_", "normal_", "exponential_", "bernoulli_"])


class DrawnAs(TorchDispatchMode):  # type: ignore[misc]  # torch is optional, so mypy follows none of it
    """Inside, what code in float64 draws is drawn in ``narrow`` and widened.

    Why: ``torch.rand_like(x) > p`` takes other bits of the generator for a float64 x than for a float32 one, so that a
    forward at float64 would be another function than the one whose gradient is judged.
    """

    def __init__(self, narrow: Any) -> None:
        super().__init__()
        self.narrow = narrow

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if name in MADE and (kwargs.get("dtype") or getattr(first, "dtype", None)) is torch.float64:
            if "dtype" in kwargs:
                kwargs["dtype"] = self.narrow
            given = [a.to(self.narrow) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
            return func(*given, **kwargs).double()
        if name in FILLED and first is not None and first.dtype is torch.float64:
            return first.copy_(func(torch.empty_like(first, dtype=self.narrow), *args[1:], **kwargs))
        return func(*args, **kwargs)
