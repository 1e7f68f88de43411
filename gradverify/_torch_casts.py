"""Casts to narrower types inside torch code: which there are, and the same code without them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: what makes an array of a dtype that is named
MADE = frozenset(
    """
    zeros ones empty full zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full scalar_tensor
    arange linspace eye
    """.split()
)


class Narrower(TorchDispatchMode):  # type: ignore[misc]  # torch is optional, so mypy follows none of it
    """Notes the floating-point types of all results."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for r in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(r, torch.Tensor) and r.is_floating_point():
                self.seen.add(r.dtype)
        return result

    def beside(self, dtype: torch.dtype) -> tuple[float, ...]:
        """Unit roundoffs of those below float64, but for ``dtype``, the finest first."""
        return tuple(sorted(float(torch.finfo(d).eps) for d in self.seen - {dtype, torch.float64}))


class KeptWide(TorchDispatchMode):  # type: ignore[misc]  # as above
    """Inside, float64 is never cast to a narrower type, and what is made in one is made in float64."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, wanted = func.overloadpacket.__name__, kwargs.get("dtype")
        if isinstance(wanted, torch.dtype) and wanted.is_floating_point and wanted is not torch.float64:
            first = args[0] if args and isinstance(args[0], torch.Tensor) else None
            if name in MADE or (name == "_to_copy" and first is not None and first.dtype is torch.float64):
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
