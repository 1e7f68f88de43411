"""Random rounding for torch: a dispatch mode, so that it also reaches the operations inside backward."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

#: moving, selecting and comparing do not round; noise would also break ties that really are ties
EXACT = frozenset(
    """
    view reshape t transpose permute expand clone copy_ detach select slice relu neg abs sign max min clamp zeros ones
    empty fill rand bernoulli cat stack squeeze unsqueeze alias as_strided index gather where threshold _to_copy
    _unsafe_view zero_ full scalar_tensor lift lift_fresh lift_fresh_copy pad constant_pad_nd arange masked_fill split
    unbind amax amin maximum minimum fmax fmin sgn floor ceil round trunc flip roll repeat tril triu diagonal diag_embed
    zeros_like ones_like empty_like full_like new_zeros new_ones new_empty new_full index_select index_put scatter sort
    topk view_as_real view_as_complex real imag _reshape_alias _conj conj_physical select_backward slice_backward
    diagonal_backward
    """.split()
)


#: operations that are many: the steps of a recurrence, a softmax between two products; as a square root of their number
MANY = {"rnn": 8.0, "lstm": 8.0, "gru": 8.0, "attention": 4.0}


class TorchNoise(TorchDispatchMode):  # type: ignore[misc]  # torch is optional, so mypy follows none of it
    """Every floating result r of an operation that rounds becomes r (1 + eps xi), xi uniform in [-1, 1].

    eps is that of r's dtype times ``amplitude``, never more than ``coarsest`` times ``amplitude``.
    """

    def __init__(self, seed: int, amplitude: float, coarsest: float = 1.0) -> None:
        super().__init__()
        self.seed, self.amplitude, self.coarsest = seed, amplitude, coarsest
        self.generators: dict[Any, torch.Generator] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in EXACT or name.endswith("_"):
            return result
        many = max((times for word, times in MANY.items() if word in name), default=1.0)
        if isinstance(result, torch.Tensor):
            return self._rounded(result, many)
        if isinstance(result, (tuple, list)):
            return type(result)(self._rounded(r, many) if isinstance(r, torch.Tensor) else r for r in result)
        return result

    def _rounded(self, x: torch.Tensor, many: float) -> torch.Tensor:
        if not x.is_floating_point() or not x.numel() or x._is_zerotensor():  # (those of jvp have no memory to read)
            return x
        generator = self.generators.get(x.device)
        if generator is None:
            generator = self.generators[x.device] = torch.Generator(x.device).manual_seed(self.seed)
        xi = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float32) * 2 - 1
        eps = min(torch.finfo(x.dtype).eps, self.coarsest) * self.amplitude * many
        return (x.double() * (1 + eps * xi.double())).to(x.dtype)
