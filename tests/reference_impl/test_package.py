"""The package as a whole: NumPy only, every op has a case, every docstring cites its section."""

import ast
import inspect
import sys
from pathlib import Path

import pytest

import reference_impl as ri
from reference_impl.ops import BEYOND
from tests.reference_impl.op_cases import CASES

FOLDER = Path(ri.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
SECTIONS = {
    "Calculus Review: Derivatives and the Chain Rule", "Single-Variable Derivatives", "The Chain Rule",
    "Multivariable Derivatives", "Derivative of a Sum", "Gradient Computation for Simple Networks",
    "Setup: Two-Layer Network", "Output Layer Gradients", "Hidden Layer Gradients",
    "Summary of the Two-Layer Derivation", "Backpropagation: The General Algorithm", "The Backpropagation Algorithm",
    "Propagating Error to Previous Layer", "Computing Gradients for Common Activation Functions", "ReLU", "Sigmoid",
    "Tanh", "Leaky ReLU", "Softmax and Cross-Entropy: Combined Gradient", "Setup", "Computational Efficiency",
    "Gradient Flow and Vanishing/Exploding Gradients", "Vanishing Gradients", "Exploding Gradients",
    "Gradient Norm Inspection", "Jacobian Matrices", "Chain Rule in Matrix Form", "Vectorization for Batches",
    "Memory Complexity",
}  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_a_module_imports_numpy_and_the_standard_library_only(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            root = name.split(".")[0]
            assert root in {"numpy", "reference_impl"} or root in sys.stdlib_module_names, f"{path.name}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.name)
def test_a_module_is_short_enough_to_be_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 200


def test_every_op_has_a_case():
    assert {c.op for c in CASES} == set(ri.OPS)


@pytest.mark.parametrize("op", ri.OPS.values(), ids=list(ri.OPS))
def test_an_op_names_a_section_of_the_derivation_or_says_that_it_is_beyond(op):
    assert op.section in SECTIONS | {BEYOND}


@pytest.mark.parametrize("op", [o for o in ri.OPS.values() if o.fn.__name__ == o.name], ids=lambda o: o.name)
def test_the_docstring_cites_the_derivation_or_says_that_it_is_beyond(op):
    doc = inspect.getdoc(op.fn)
    assert doc
    assert "Derivation, section" in doc or "eyond the derivation" in doc


def test_cited_sections_are_headings_of_the_derivation():
    cited = set()
    for path in MODULES:
        for sentence in path.read_text(encoding="utf-8").split("Derivation, section")[1:]:
            cited.update(part for part in sentence.split("\n\n")[0][:200].split("'")[1::2] if part[0].isupper())
    assert cited
    assert {c for c in cited if c not in SECTIONS} == set()


@pytest.mark.parametrize("op", ri.OPS.values(), ids=list(ri.OPS))
def test_an_op_has_one_number_of_axes_for_each_primal(op):
    assert op.axes is None or len(op.axes) == len(op.primals)


def test_the_table_of_activations_and_the_ops_are_the_same_functions():
    assert all(ri.OPS[name].fn is function for name, function in ri.ACTIVATIONS.items())


def test_all_public_names_exist_and_are_sorted():
    assert all(hasattr(ri, name) for name in ri.__all__)
    assert len(set(ri.__all__)) == len(ri.__all__)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_the_pullback_returns_one_gradient_for_each_primal_in_order(case):
    op = ri.OPS[case.op]
    out, pullback = op.fn(*case.arguments().values(), **case.constants)
    assert len(pullback(out)) == len(op.primals)
    assert tuple(case.primals) == op.primals
