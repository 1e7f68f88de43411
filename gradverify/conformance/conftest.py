"""The suite is collected whatever the user's configuration calls test files."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """The file of the suite where ``python_files`` has another pattern; pytest itself collects it elsewhere."""
    patterns = parent.config.getini("python_files")
    named = any(fnmatch(file_path.name, pattern) for pattern in patterns) or parent.session.isinitpath(file_path)
    if file_path.name != "test_conformance.py" or named:
        return None
    return pytest.Module.from_parent(parent, path=file_path)
