"""Forward mode: torch.func.jvp of the forward, a second autodiff that shares no rule with reverse mode."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.errors import Unsupported
from gradverify.registry import oracle
from gradverify.sampling import quiet, widened
from gradverify.types import Adapter, Array, Case, differentiable, leaves


@oracle("forward-mode")
class ForwardMode:
    """The directional derivative by torch.func.jvp of the forward in torch operations; no backward is involved.

    Error   rounding only, 64 eps of the largest contribution; declines for NumPy forwards and operations without a
            forward-mode rule
    """

    name = "forward-mode"
    independent = False

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Torch forwards only."""
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed (pip install 'gradverify[torch]')"
        if getattr(adapter, "framework", "numpy") != "torch" or getattr(adapter, "call", None) is None:
            return "the forward is not torch code"
        return "there are no primals" if not case.primals else ""

    def along(self, adapter: Adapter, case: Case, tangent: Mapping[str, Array]) -> float:
        """<upstream, J tangent>. Raises Unsupported where torch has no forward rule."""
        import torch

        device = getattr(adapter, "device", None) or "cpu"
        wide = {k: widened(v) if differentiable(v) else np.array(v) for k, v in case.primals.items()}
        fixed = {k: torch.tensor(v, device=device) for k, v in wide.items() if k not in tangent}
        names = list(tangent)
        call: Any = getattr(adapter, "call", None)

        def phi(*tensors: torch.Tensor) -> torch.Tensor:
            out = call({**fixed, **{k: t.clone() for k, t in zip(names, tensors, strict=True)}}, case.fixed())
            outs: dict[str, Any] = dict(leaves(out))
            total = torch.zeros((), dtype=torch.float64, device=device)
            for k, w in leaves(case.upstream if case.upstream is not None else np.ones(())).items():
                total = total + (outs[k].double() * torch.tensor(np.asarray(w, float), device=device)).sum()
            return total

        try:
            with quiet():
                _, slope = torch.func.jvp(
                    phi,
                    tuple(torch.tensor(wide[k], device=device) for k in names),
                    tuple(torch.tensor(np.asarray(tangent[k], float), device=device) for k in names),
                )
        except (RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
            raise Unsupported(f"no forward mode here: {error}") from error
        return float(slope)
