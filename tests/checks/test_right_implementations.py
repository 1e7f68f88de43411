"""Every check leaves right implementations alone, and every check has something that it catches."""

import pytest

from gradverify import registry
from tests.bench import lively, wrong
from tests.checks.right import RIGHT

NAMES = [name for name in registry.check if name != "pullback-matches-oracle"]


@pytest.mark.parametrize("implementation", RIGHT, ids=str)
@pytest.mark.parametrize("check", NAMES)
@pytest.mark.parametrize("live", [False, True], ids=["numpy", "live"])
def test_a_right_implementation_is_left_alone(check, implementation, live):
    bench = RIGHT[implementation]()
    found = wrong(registry.check[check].item(lively(bench.adapter, bench.case) if live else bench))
    assert not found, [f"{m.of}: {m.why}" for m in found]


@pytest.mark.parametrize("check", NAMES)
def test_a_check_says_what_is_right_and_what_is_wrong(check):
    text = registry.check[check].item.__doc__
    assert "Right:" in text
    assert "Wrong:" in text


@pytest.mark.parametrize("check", NAMES)
def test_a_check_names_causes_that_exist(check):
    assert set(registry.check[check].meta["catches"]) <= set(registry.cause)


@pytest.mark.parametrize("check", NAMES)
def test_a_check_requires_checks_that_exist(check):
    assert set(registry.check[check].meta.get("requires", ())) <= set(registry.check)
