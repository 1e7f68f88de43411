"""What a backward draws by itself: with other random numbers its gradient should be the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

#: None: a pullback continues where its forward left the global generators; a number: it is seeded with that
SEED: ContextVar[int | None] = ContextVar("seed of what a pullback draws", default=None)


@contextmanager
def drawn_otherwise(seed: int) -> Iterator[None]:
    """Inside, pullbacks find the global generators (NumPy's, Python's, torch's) in another state."""
    token = SEED.set(seed)
    try:
        yield
    finally:
        SEED.reset(token)
