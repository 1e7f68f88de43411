"""Names that register by being imported."""

import subprocess
import sys

import pytest

from gradverify import registry
from gradverify.errors import UsageError
from gradverify.registry import Registry


@pytest.fixture
def things():
    return Registry("thing", "gradverify.formats")


def test_an_entry_has_its_first_line_and_its_metadata(things):
    @things("good", level="quick")
    def good():
        """What it does.

        And how.
        """

    assert things["good"].summary == "What it does."
    assert things["good"].meta == {"level": "quick"}
    assert things["good"].item is good


def test_a_name_is_given_once(things):
    @things("same")
    def first():
        """One."""

    with pytest.raises(ValueError, match="two things are called 'same'"):
        things("same")(lambda: None)


def test_without_a_docstring_there_is_no_row(things):
    with pytest.raises(ValueError, match="has no docstring"):
        things("mute")(lambda: None)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(
        UsageError, match="no check is called 'pullback-matches-oracel'; did you mean 'pullback-matches-o"
    ):
        _ = registry.check["pullback-matches-oracel"]


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(UsageError, match=r"Known: .*finite-differences"):
        _ = registry.oracle["zzz"]


@pytest.mark.parametrize("kind", [n for n, r in vars(registry).items() if isinstance(r, Registry)])
def test_every_folder_is_its_list(kind):
    entries = getattr(registry, kind).entries()
    assert entries
    assert [e.name for e in entries] == sorted(e.name for e in entries)
    assert all(e.summary for e in entries)


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import gradverify.registry, sys; print(*[m for m in sys.modules if m.startswith('gradverify.checks')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []
