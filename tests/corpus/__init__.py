"""Right-but-hard implementations and their subtly wrong twins: the corpus that gradverify's verdicts are judged on.

Data only. ``load()`` imports every family and returns all items by name; ``python -m tests.corpus`` writes the score.
"""

from tests.corpus._items import Item, load

__all__ = ["Item", "load"]
