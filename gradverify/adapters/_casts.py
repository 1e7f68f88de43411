"""Casts to other types inside a torch forward: noted at its first run, left out where an oracle asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Casts:
    """Casts to other types that the forward makes by itself: ``.half()``, ``softmax(dtype=)``, autocast.

    met  unit roundoffs of the floating types below float64 that are not the arguments', the finest first
    """

    def __init__(self, torch: Any) -> None:
        self._torch, self._known = torch, False
        self.met: tuple[float, ...] = ()

    def noting(self, forward: Callable[[], Any], dtype: Any) -> Any:
        """``forward()``; the first time it is looked at for other types than ``dtype``."""
        if self._known or dtype is None:
            return forward()
        from gradverify._torch_casts import Narrower

        self._known = True
        with Narrower() as types:
            result = forward()
        self.met = types.beside(dtype)
        return result

    def kept_wide(self, forward: Callable[[], Any], dtype: Any) -> Any:
        """``forward()``, in float64 without such casts where it bears that: an oracle asks for what is computed."""
        if not self.met or dtype is not self._torch.float64:
            return forward()
        from gradverify._torch_casts import KeptWide

        try:
            with KeptWide():
                return forward()
        except (RuntimeError, TypeError):  # a constant of another type in its closure, say
            return forward()
