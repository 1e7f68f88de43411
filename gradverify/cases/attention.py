"""Points for attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("attention")
def attention(rng: np.random.Generator) -> Iterator[Case]:
    """Numbers of queries, keys and features that all differ; heads; a causal mask; one key."""

    def qkv(*heads: int, keys: int = 5) -> dict[str, Any]:
        return {
            "Q": rng.normal(0, 1, (*heads, 3, 4)),
            "K": rng.normal(0, 1, (*heads, keys, 4)),
            "V": rng.normal(0, 1, (*heads, keys, 2)),
        }

    yield point("attention", "3x5", **qkv())
    yield point("attention", "heads", **qkv(2))
    yield point("attention", "causal", constants={"mask": np.tril(np.ones((3, 5), bool), 1)}, **qkv())
    yield point("attention", "one-key", "edge", **qkv(keys=1))
