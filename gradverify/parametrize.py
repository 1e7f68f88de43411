"""``@gv.parametrize_with_checks``: one test per implementation and check, with ids made for ``pytest -k``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from gradverify.errors import UsageError
from gradverify.recording import ASKED, Recorder, current_item

FORMS = (
    "each item is (subject, primals), (name, subject, primals), either with constants behind, "
    "(subject, Case), or a @gv.subject function"
)


@dataclass(frozen=True, kw_only=True)
class BoundCheck:
    """A check bound to what it checks: call it inside the test."""

    check: str
    name: str
    make: Callable[[], tuple[Any, Any]]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    is_a_bound_check: ClassVar[bool] = True

    def __call__(self) -> Any:
        """Run the check; fail like the ``gradverify`` fixture, skip with the reason where it does not apply.

        Raises UsageError outside of a test that pytest runs.
        """
        __tracebackhide__ = True
        item = current_item.get(None)
        if item is None:
            raise UsageError(f"{self.check} of {self.name} is called outside of a test; let pytest run the test")
        item.stash[ASKED] = True
        recorder = Recorder(item)
        subject, primals = self.make()
        report = recorder.measure(subject, primals, **{**self.keywords, "checks": [self.check], "name": self.name})
        if all(f.verdict == "skipped" for f in report.findings):
            pytest.skip(next((f.why for f in report.findings), f"{self.check} does not apply to {self.name}"))
        recorder.settle(report)
        return report


def parametrize_with_checks(
    items: Iterable[Any],
    *,
    checks: Sequence[str] | None = None,
    expected_failed_checks: Mapping[str, str] | None = None,
    **keywords: Any,
) -> pytest.MarkDecorator:
    """Parametrize a test over implementations and checks; the test has one argument, ``check``, and calls it.

        @gv.parametrize_with_checks([("affine", (forward, backward), {"x": x, "W": W})])
        def test_contract(check):
            check()

    items   see ``FORMS``
    checks  names; default: every registered check
    expected_failed_checks  check -> reason; these become strict xfails
    keywords  of ``gv.verify``, for all items
    Raises UsageError for an item of another form, an unknown check, and an empty list.
    """
    from gradverify import registry

    names = list(registry.check) if checks is None else [registry.check[name].name for name in checks]
    expected = {registry.check[name].name: reason for name, reason in (expected_failed_checks or {}).items()}
    bound = [_bind(item, i) for i, item in enumerate(items)]
    if not bound or not names:
        raise UsageError(f"parametrize_with_checks has nothing to check: {FORMS}")
    params = []
    for name, make, own in bound:
        for check in names:
            value = BoundCheck(check=check, name=name, make=make, keywords={**own, **keywords})
            marks = [pytest.mark.xfail(reason=expected[check], strict=True)] if check in expected else []
            params.append(pytest.param(value, id=f"{name}-{check}", marks=marks))
    return pytest.mark.parametrize("check", params)


def _bind(item: Any, i: int) -> tuple[str, Callable[[], tuple[Any, Any]], dict[str, Any]]:
    """``(name, () -> (subject, primals), keywords of verify)`` of one item. Raises UsageError."""
    from gradverify.subjects import marked
    from gradverify.types import Case

    found = marked(item)
    if found is not None:
        seed = int(found.keywords.get("seed", 0))
        _, _, constants = found.draw(seed)
        return found.name, lambda: found.draw(seed)[:2], {**found.keywords, "constants": constants}
    if not isinstance(item, tuple):
        raise UsageError(f"parametrize_with_checks does not know what to do with item {i}, {item!r}: {FORMS}")
    name, rest = (item[0], item[1:]) if item and isinstance(item[0], str) else (None, item)
    if len(rest) == 2 and isinstance(rest[1], Case):
        subject, case = rest
        given = {"constants": dict(case.constants) or None, "upstream": case.upstream}
        return name or case.name, lambda: (subject, case.primals), given
    if len(rest) not in (2, 3) or not isinstance(rest[1], Mapping):
        raise UsageError(f"parametrize_with_checks cannot read item {i}: {FORMS}")
    keywords = {"constants": rest[2]} if len(rest) == 3 else {}
    return name or _name_of(rest[0], i), lambda: (rest[0], rest[1]), keywords


def _name_of(subject: Any, i: int) -> str:
    """A readable id: the function's, the first function's of a pair, or the class's name."""
    first = subject[0] if isinstance(subject, tuple) and subject else subject
    return str(getattr(first, "__name__", None) or f"{type(first).__name__}{i}")
