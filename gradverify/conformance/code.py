"""A case as Python code that runs: what a failure prints, so that it can be taken away and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.types import Array, Case, leaves


def as_code(case: Case, *, target: str = "", invariant: str = "", seed: int = 0) -> str:
    """Python code that builds ``case``; with a target and an invariant it asks again and leaves ``findings``.

    target  ``package.module:name``. Every number is written so that it is read back exactly.
    """
    rows = [f"    name={case.name!r},", f"    op={case.op!r},"]
    rows += _mapping("primals", case.primals)
    if case.constants:
        rows += _mapping("constants", case.constants)
    if case.attrs:
        rows.append(f"    attrs={dict(case.attrs)!r},")
    if case.tags:
        rows.append(f"    tags=frozenset({sorted(case.tags)!r}),")
    if case.upstream is not None:
        parts = leaves(case.upstream)
        said = literal(parts[""]) if list(parts) == [""] else literal(parts)
        rows.append(f"    upstream={said},")
    lines = ["import numpy as np", "", "from gradverify.types import Case", "", "case = Case(", *rows, ")"]
    if invariant and target:
        lines[3:3] = ["from gradverify.conformance import ask_invariant, load_target"]
        lines += [
            f"findings = ask_invariant(load_target({target!r}), case, {invariant!r}, seed={seed})",
            'print(*(f"{f.verdict}: {f.of}: {f.why}" for f in findings), sep="\\n")',
        ]
    elif invariant:
        lines.append(f"# from gradverify.conformance import ask_invariant; ask_invariant(target, case, {invariant!r})")
    return "\n".join(lines) + "\n"


def as_question(target: str, device: str | None, case: Case, how: Mapping[str, Any]) -> str:
    """Python code that asks a target at a case of the catalogue again.

    how  keywords of ``ask``
    """
    said = "".join(f", {name}={value!r}" for name, value in how.items() if value is not None)
    where = repr(target) if device is None else f"{target!r}, {device!r}"
    return (
        "from gradverify.cases import cases_of\n"
        "from gradverify.conformance import ask, load_target\n\n"
        f"(case,) = [c for c in cases_of({case.op!r}) if c.name == {case.name!r}]\n"
        f"print(ask(load_target({where}), case{said}))\n"
    )


def _mapping(name: str, values: Mapping[str, Any]) -> list[str]:
    return [f"    {name}={{", *(f"        {k!r}: {literal(v)}," for k, v in values.items()), "    },"]


def literal(value: Any) -> str:
    """An expression for an array, a number, a text, or containers of them."""
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return f"np.{value.dtype.name}({_number(value.item())})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inside = ", ".join(literal(v) for v in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' if len(value) == 1 else ''})"
    return _number(value)


def _array(a: Array) -> str:
    if a.size == 0:
        return f"np.zeros({a.shape!r}, dtype={a.dtype.name!r})"
    return f"np.array({_nested(a.tolist())}, dtype={a.dtype.name!r})"


def _nested(value: Any) -> str:
    return f"[{', '.join(map(_nested, value))}]" if isinstance(value, list) else _number(value)


def _number(value: Any) -> str:
    if isinstance(value, float) and not np.isfinite(value):
        return {"nan": "np.nan", "inf": "np.inf", "-inf": "-np.inf"}[repr(value)]
    return repr(value)
