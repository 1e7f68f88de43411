"""The house rules of DESIGN section 3, as tests over the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradverify import registry
from gradverify.types import Finding, Verdict

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gradverify"
REFERENCE = ROOT / "reference_impl"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Lowest first; a module imports only what stands on a line above its own. Folders and files of a line are siblings.
LAYERS = (
    ("types", "errors", "tracebacks"),
    ("directions", "stopping"),
    ("tally",),
    ("judge", "options", "answers"),
    ("registry",),
    (
        "tracing",
        "sampling",
        "batched",
        "points",
        "inputs",
        "_torch_noise",
        "_torch_stops",
        "jumps",
        "_torch_draws",
        "_torch_casts",
        "waivers",
        "subjects",
        "draws",
    ),
    ("rounding", "tolerances"),
    ("coarse",),
    ("adapters", "oracles", "cases", "checks", "invariants", "mutants", "causes", "formats"),
    ("search", "stacking", "confirming", "explanations"),
    ("probes",),
    ("second_opinions",),
    ("consult",),
    ("bench", "report"),
    ("counterfactuals",),
    ("evidence", "blind", "surrogates", "comparison"),
    ("runner", "strategies"),
    ("api",),
    ("recording",),
    ("studies", "grading", "conformance"),
    ("parametrize", "pytest_table", "pytest_items", "commands"),
    ("pytest_rows",),
    ("cli", "pytest_plugin"),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

#: Folders whose public files are entries of a registry, one each.
LISTS = ("adapters", "oracles", "cases", "checks", "invariants", "mutants", "causes", "formats")

#: Files of more than 300 lines, each with the reason why it is still one idea.
LONG = {
    "gradverify/types.py": "the nouns, all in one place",
    "gradverify/tracing/allocation.py": "one rule per NumPy function that makes arrays",
    "gradverify/tracing/array.py": "one array type with every operator of the protocol",
    "gradverify/tracing/reductions.py": "one rule per NumPy reduction, a table in code",
}
LIMIT = 300

REGISTRIES = {
    "adapter": registry.adapter,
    "oracle": registry.oracle,
    "check": registry.check,
    "invariant": registry.invariant,
    "mutant": registry.mutant,
    "cause": registry.cause,
    "case": registry.case_family,
    "format": registry.report_format,
}

#: What importing gradverify must not import.
HEAVY = "{'torch', 'pandas', 'hypothesis', 'pytest', 'jax', 'matplotlib', 'rich', 'jinja2', 'scipy'}"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


def imports_of(path: Path, package: str = "gradverify") -> Iterator[tuple[str, ...]]:
    """What a file imports of a package, as dotted parts below it."""
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package:
            parts = tuple(node.module.split(".")[1:])
            yield from [parts] if parts else [(alias.name,) for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (tuple(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == package)


def top_level_imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else "reference_impl"


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py" or p.parent != PACKAGE], ids=name_of)
def test_a_module_has_its_place_and_imports_only_lower_layers(path):
    here = layer_of(path)
    assert here in RANK, f"{here} has no place in LAYERS"
    for there in imports_of(path):
        if there and there[0] != here:
            assert there[0] in RANK, f"{there[0]} has no place in LAYERS"
            assert RANK[there[0]] < RANK[here], f"{name_of(path)}: {here} may not import {'.'.join(there)}"


@pytest.mark.parametrize("path", [p for p in MODULES if layer_of(p) in LISTS and p.name != "__init__.py"], ids=name_of)
def test_entries_of_a_folder_share_only_private_helpers(path):
    for there in imports_of(path):
        if there[0] == layer_of(path) and len(there) > 1:
            assert there[1].startswith("_"), f"{name_of(path)} imports its sibling {there[1]}"


def test_the_reference_is_imported_by_its_adapter_and_the_reference_oracle_alone():
    allowed = {"gradverify/adapters/reference.py", "gradverify/oracles/reference.py"}
    importers = {name_of(p) for p in MODULES if list(imports_of(p, "reference_impl"))}
    # studies run the reference as a subject
    assert {name for name in importers if not name.startswith("gradverify/studies/")} <= allowed


@pytest.mark.parametrize("path", sorted(REFERENCE.rglob("*.py")), ids=name_of)
def test_the_reference_imports_numpy_and_itself_only(path):
    outside = set(sys.stdlib_module_names) | {"numpy", "reference_impl"}
    assert top_level_imports(path) <= outside
    assert not list(imports_of(path))


# a file called _torch... is itself imported only where torch is used
@pytest.mark.parametrize("path", [p for p in MODULES if not p.name.startswith("_torch")], ids=name_of)
def test_frameworks_are_imported_where_they_are_used_not_at_the_top(path):
    doors = {"pytest_plugin.py", "pytest_items.py", "pytest_rows.py", "recording.py", "parametrize.py"}
    allowed = set(sys.stdlib_module_names) | {"numpy", "gradverify", "reference_impl"}
    allowed |= {"pytest"} if path.name in doors or layer_of(path) == "conformance" else set()
    allowed |= {"hypothesis"} if layer_of(path) in ("strategies", "conformance") else set()
    assert top_level_imports(path) <= allowed


@pytest.mark.parametrize("path", [*MODULES, *sorted(REFERENCE.rglob("*.py"))], ids=name_of)
def test_modules_and_their_public_functions_and_classes_are_documented(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
    if path.name.startswith("_") or "ruff: noqa: D103" in path.read_text():
        return  # a private file speaks to its own folder; rules of the tracer are named after the NumPy function
    named = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and not n.name.startswith("_")]
    named = [n for n in named if "overload" not in "".join(map(ast.dump, n.decorator_list))]  # documented once
    silent = [n.name for n in named if not ast.get_docstring(n)]
    assert not silent, f"{name_of(path)}: {', '.join(silent)} without a docstring"


@pytest.mark.parametrize("path", [*MODULES, *sorted(REFERENCE.rglob("*.py"))], ids=name_of)
def test_a_file_is_one_idea_or_says_why_it_is_long(path):
    lines = len(path.read_text().splitlines())
    assert (lines > LIMIT) == (name_of(path) in LONG), f"{name_of(path)} has {lines} lines; see LONG"


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_registered_name_is_documented_and_reads_like_a_name(kind):
    for entry in REGISTRIES[kind].entries():
        assert entry.summary[:1].strip(), f"{kind} {entry.name} has no summary"
        assert entry.name == entry.name.lower()
        assert " " not in entry.name


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_folder_is_the_list(kind):
    found = REGISTRIES[kind]
    folder = PACKAGE / found.package.split(".")[1]
    registering = {entry.item.__module__ for entry in found.entries()}
    files = {f"{found.package}.{p.stem}" for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert files == {name for name in registering if name.startswith("gradverify.")}


def test_every_check_has_a_mutant_that_it_catches():
    caught = {name for m in registry.mutant.entries() for name in _names(m.meta["caught_by"])}
    assert {entry.name for entry in registry.check.entries()} <= caught


def test_every_mutant_names_a_check_that_exists():
    known = {*registry.check, *registry.invariant}
    assert {name for m in registry.mutant.entries() for name in _names(m.meta["caught_by"])} <= known


def _names(value):
    return (value,) if isinstance(value, str) else tuple(value)


def test_a_pass_that_compared_nothing_cannot_be_built():
    with pytest.raises(ValueError, match="a pass that compared nothing"):
        Finding(adapter="a", case="c", check="k", of="x", verdict=Verdict.PASS, n_compared=0)


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_what_is_not_a_pass_has_a_reason(verdict):
    with pytest.raises(ValueError, match="without a reason"):
        Finding(adapter="a", case="c", check="k", of="x", verdict=verdict)


@pytest.mark.parametrize("module", ["gradverify", "gradverify.types", "gradverify.report", "gradverify.runner"])
def test_importing_it_imports_no_framework(module):
    code = f"import {module}, sys; print(*sorted({HEAVY} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []


def test_no_test_asserts_nothing():
    """A test proves something by assert, by expecting an exception, or through a helper of the tests that does."""
    functions: dict[str, list[tuple[str, ast.FunctionDef]]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append((name_of(path), node))
    proving = set(PROVING)
    while True:  # helpers that call helpers that assert
        more = {n for n, found in functions.items() if n not in proving and any(_proves(f, proving) for _, f in found)}
        if not more:
            break
        proving |= more
    tests = [(where, f) for n, found in functions.items() if n.startswith("test_") for where, f in found]
    assert [f"{where}::{f.name}" for where, f in tests if not _proves(f, proving)] == []


#: Calls that raise when something is wrong.
PROVING = ("raises", "raise_for_failures", "fail", "assert_outcomes", "fnmatch_lines", "re_match_lines", "warns")


def _proves(function: ast.FunctionDef, proving: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in proving or name.startswith("assert_"):
                return True
    return False
