"""The suite as a third party runs it: ``pytest --pyargs gradverify.conformance`` from any directory."""

import itertools
import sys
from types import SimpleNamespace

import pytest

from gradverify.conformance import targets
from gradverify.conformance.targets.torch import full_float32

TARGETS = "gradverify.conformance.targets"
WAIVERS = {name: f"{targets.__path__[0]}/{name}.toml" for name in ("torch", "autograd")}
COUNT = itertools.count()  # a module name of its own for every target: pytest runs in this process

RIGHT = """
    import numpy as np
    from gradverify.conformance import Capabilities

    class Target:
        name = "mine"
        capabilities = Capabilities(dtypes=("float64",))
        factor = 1.0

        def supports(self, case):
            return case.op == "tanh"

        def vjp(self, case):
            a = np.tanh(case.primals["z"])
            return a, lambda u: {"z": self.factor * u * (1 - a**2)}
"""
WRONG = RIGHT.replace("factor = 1.0", "factor = -1.0")
NOTHING = RIGHT.replace('case.op == "tanh"', "False")
WAIVER = """
    [[waiver]]
    case = "tanh/*"
    reason = "known: the sign is wrong"
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    def run(source=None, *more, spec=None):
        if source is not None:
            name = f"backend_{next(COUNT)}"
            pytester.makepyfile(**{name: source})
            spec = f"{name}:Target"
        monkeypatch.syspath_prepend(pytester.path)
        given = [f"--gradverify-target={spec}"] if spec else []
        return pytester.runpytest_inprocess(
            "--pyargs", "gradverify.conformance", "--strict-markers", "--strict-config", "-p", "no:cacheprovider",
            *given, *more,
        )  # fmt: skip

    return run


def test_a_right_target_passes_and_the_run_says_how_much_was_judged(suite):
    result = suite(RIGHT, "-k", "tanh or loss-scaling or target")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*gradverify: target backend_*:Target*", "* checks judged in * tests*"])


def test_a_failure_prints_code_and_a_command_that_ask_again(suite, pytester):
    result = suite(WRONG, "-k", "test_case and tanh/3x4")
    result.stdout.fnmatch_lines(
        ["  repeat: pytest --pyargs 'gradverify.conformance.test_conformance::test_case[[]tanh/3*"]
    )
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if line.endswith("as code:"))
    end = next(i for i, line in enumerate(lines) if i > start and line.startswith("  repeat:"))
    done = pytester.run(sys.executable, "-c", "\n".join(lines[start + 1 : end]))
    done.stdout.fnmatch_lines(["fail: gradient of z wrong, because of sign*"])


def test_the_command_of_a_failure_selects_that_test_alone(pytester):
    result = pytester.runpytest_inprocess(
        "--pyargs", "gradverify.conformance.test_conformance::test_case[tanh/3x4]", "-p", "no:cacheprovider",
        f"--gradverify-target={TARGETS}.reference:target",
    )  # fmt: skip
    result.assert_outcomes(passed=1)


def test_a_target_that_raises_is_an_error_shown_by_its_own_lines(suite, pytester):
    raising = RIGHT.replace("a = np.tanh", "raise ValueError('no kernel'); a = np.tanh")
    result = suite(raising, "-k", "test_case and 3x4", "--gradverify-report=r.jsonl")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["mine: tanh raised ValueError: no kernel", "*backend_*", "error * subject"])
    frames = [line for line in result.outlines if line.strip().startswith("File ")]
    assert frames
    assert all("backend_" in line for line in frames)
    assert "no kernel" in (pytester.path / "r.jsonl").read_text()


def test_what_a_target_lacks_is_skipped_with_its_own_reason(suite):
    lacks = RIGHT.replace('dtypes=("float64",)', 'lacks={"linear-adjoint": "we know"}')
    result = suite(lacks, "-k", "linear-adjoint or tanh/3x4", "-rs")
    result.stdout.fnmatch_lines(["skipped * test_conformance.py::test_invariant[[]linear-adjoint]*", "SKIPPED*we know"])


def test_ini_keys_are_followed(suite):
    result = suite(RIGHT, "-k", "test_case and 3x4", "-o", "gradverify_level=quick", "-o", "gradverify_seed=5",
                   "-o", "gradverify_dtype=float32", "--gradverify-columns=test,judged,resolution")  # fmt: skip
    quick = int(result.outlines[-3].split()[1])
    assert quick < 20
    assert "e-06" in result.outlines[-3]


def test_a_dtype_that_the_catalogue_cannot_have_is_refused(suite):
    result = suite(RIGHT, "--gradverify-dtype=bfloat16")
    result.stdout.fnmatch_lines(["the catalogue cannot be cast to 'bfloat16'; did you mean 'float16'?*"])


def test_a_configuration_that_refuses_empty_parameters_is_no_obstacle(suite):
    result = suite(RIGHT, "-k", "tanh/3x4 or precision", "-o", "empty_parameter_set_mark=fail_at_collect")
    assert result.ret == 0


@pytest.mark.parametrize(
    "key", ["python_files=check_*.py", "python_functions=check_*", "addopts=--import-mode=importlib", "strict=true"]
)
def test_a_configuration_for_other_names_of_tests_is_no_obstacle(suite, key):
    result = suite(RIGHT, "-k", "tanh/3x4", "-o", key)
    result.assert_outcomes(passed=1)


def test_collecting_is_no_run_that_judged_nothing(suite):
    assert suite(RIGHT, "--collect-only").ret == 0


def test_ops_that_a_target_lacks_are_listed(suite):
    result = suite(RIGHT, "-k", "lacking", "-rs")
    result.stdout.fnmatch_lines(["*mine has no conv2d*"])


def test_a_wrong_target_fails_and_the_cause_is_named(suite):
    result = suite(WRONG, "-k", "tanh/3x4")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*FAIL  pullback-matches-oracle*", "*cause: sign*"])


def test_a_broken_invariant_is_shown_as_code(suite):
    result = suite(RIGHT.replace("self.factor", "a.size"), "-k", "batch-additivity")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*as code:*", "*case = Case(*"])


def test_a_run_that_judged_nothing_fails(suite):
    result = suite(NOTHING, "-k", "lacking")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*nothing was judged, so the run fails*"])


def test_a_target_without_any_op_fails(suite):
    result = suite(NOTHING, "-k", "test_target")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*mine supports no op of the catalogue*"])


def test_a_waived_failure_is_an_expected_one(suite, pytester):
    pytester.makefile(".toml", waivers=WAIVER)
    result = suite(WRONG, "-k", "tanh/3x4", "--gradverify-waivers=waivers.toml", "-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["*known: the sign is wrong*"])


def test_a_waiver_that_is_no_longer_needed_fails(suite, pytester):
    pytester.makefile(".toml", waivers=WAIVER)
    result = suite(RIGHT, "-k", "tanh/3x4", "--gradverify-waivers=waivers.toml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*XPASS(strict)*remove the waiver*", "*stale, it excused nothing in this run*"])


def test_without_a_target_the_run_says_how_to_give_one(suite):
    result = suite()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*--gradverify-target=package.module:name*"])


def test_a_target_that_cannot_be_imported_is_one_clear_line(suite):
    result = suite(spec="no_such_package:target")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["ERROR: gradverify: the target 'no_such_package:target' cannot be imported: *"])


FEW, ALL = "affine/4x3 or relu/at-0 or last-class or hidden-perm", "not nothing"


@pytest.mark.parametrize(
    ("backend", "what"),
    [
        *[(backend, FEW) for backend in ("reference", "torch", "autograd")],
        *[pytest.param(backend, ALL, marks=pytest.mark.slow) for backend in ("reference", "torch", "autograd")],
        pytest.param("jax", FEW, marks=pytest.mark.slow),  # each op is compiled for each shape: all of it takes an hour
    ],
)
def test_the_targets_that_come_with_gradverify_conform(suite, backend, what):
    if backend != "reference":
        pytest.importorskip(backend)
    waivers = [f"--gradverify-waivers={WAIVERS[backend]}"] if backend in WAIVERS else []
    result = suite(None, "-k", what, *waivers, spec=f"{TARGETS}.{backend}:target")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 4


@pytest.mark.parametrize(
    ("cudnn", "said"),
    [
        (SimpleNamespace(conv=SimpleNamespace(fp32_precision="tf32")), lambda c: c.conv.fp32_precision == "ieee"),
        (SimpleNamespace(allow_tf32=True), lambda c: c.allow_tf32 is False),
    ],
    ids=["torch 2.9 and later", "torch before"],
)
def test_float32_is_float32_where_cuda_would_take_a_short_cut(cudnn, said):
    full_float32(SimpleNamespace(backends=SimpleNamespace(cudnn=cudnn)))
    assert said(cudnn)


@pytest.mark.cuda
def test_torch_conforms_on_cuda(suite):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    result = suite(
        None, f"--gradverify-waivers={WAIVERS['torch']}", "--gradverify-device=cuda", spec=f"{TARGETS}.torch:target"
    )
    assert result.ret == 0


def test_cuda_that_is_not_there_is_refused(suite):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    result = suite(None, "--gradverify-device=cuda", spec=f"{TARGETS}.torch:target")
    result.stderr.fnmatch_lines(["*torch sees no CUDA device*"])
    assert result.ret != 0
