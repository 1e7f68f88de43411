"""Shared by all tests: ``pytester`` runs pytest within pytest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# no test asserts a time: a loaded machine is no failure
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def everything_imported():
    """After a run within this process pytester forgets what the run has imported.

    NumPy and torch crash when they are imported twice, and modules that register refuse to.
    """
    import gradverify as gv
    from gradverify import registry

    for kind in vars(registry).values():
        if isinstance(kind, registry.Registry):
            kind.load()
    gv.verify((lambda x: (x**2, x), lambda u, x: {"x": 3 * u * x}), {"x": np.ones(3)}).frame()


@pytest.fixture
def pytester(everything_imported, pytester):
    return pytester
