"""A ``@gv.subject`` function of a test module as a test of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gradverify.errors import GradverifyError
from gradverify.recording import Recorder
from gradverify.subjects import marked
from gradverify.tracebacks import own_part

if TYPE_CHECKING:
    from gradverify.subjects import Subject

#: Marks that only functions with arguments can have.
MEANINGLESS = ("parametrize", "usefixtures")


def subject_item(collector: pytest.Module, name: str, function: Callable[..., Any]) -> pytest.Item:
    """The test of a marked function, with the function's own marks. Raises CollectError for marks that mean nothing."""
    subject = marked(function)
    assert subject is not None  # the caller has looked
    item: SubjectItem = SubjectItem.from_parent(collector, name=name, subject=subject)
    for mark in getattr(function, "pytestmark", ()):
        if mark.name in MEANINGLESS:
            raise pytest.Collector.CollectError(
                f"{name}: a @gv.subject takes rng alone, so @pytest.mark.{mark.name} means nothing to it; "
                "write a test that uses the fixture gradverify, or one subject for each value"
            )
        item.own_markers.append(mark)
        item.keywords[mark.name] = mark
    return item


class SubjectItem(pytest.Item):
    """A ``@gv.subject`` function of a test module, as a test."""

    def __init__(self, *, subject: Subject, **kw: Any) -> None:
        super().__init__(**kw)
        self.gradverify_subject = subject

    def runtest(self) -> None:
        __tracebackhide__ = True
        Recorder(self).subject(self.gradverify_subject)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, and the user's own frames; there is no test body whose line would help."""
        error = excinfo.value
        if isinstance(error, GradverifyError):
            return "\n\n".join([str(error), *([own_part(error.__cause__)] if error.__cause__ is not None else [])])
        if isinstance(error, Exception) and not self.config.getoption("fulltrace"):
            return own_part(error)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        code = getattr(self.gradverify_subject.make, "__code__", None)
        return self.path, None if code is None else code.co_firstlineno - 1, self.name
