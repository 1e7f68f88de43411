"""``torch``, imported at its first use: importing gradverify loads no framework."""

from __future__ import annotations

from typing import Any, TypeAlias

from gradverify.errors import need

Tensor: TypeAlias = Any  #: a torch.Tensor; torch is optional and has no types here


class _Torch:
    """Stands for the module until an attribute is asked for."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(need("torch", "torch", "differentiating NumPy code by tracing"), name)
        setattr(self, name, value)
        return value


torch: Any = _Torch()
