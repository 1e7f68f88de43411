"""The suite as a third party runs it: ``pytest --pyargs gradverify.conformance`` from any directory."""

import itertools

import pytest

from gradverify.conformance import targets

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
    result.stdout.fnmatch_lines(["*no_such_package:target*cannot be imported*"])


@pytest.mark.parametrize("backend", ["reference", "torch", "autograd"])
@pytest.mark.parametrize(
    "what",
    ["affine/4x3 or relu/at-0 or last-class or hidden-perm", pytest.param("not nothing", marks=pytest.mark.slow)],
)
def test_the_targets_that_come_with_gradverify_conform(suite, backend, what):
    if backend != "reference":
        pytest.importorskip(backend)
    waivers = [f"--gradverify-waivers={WAIVERS[backend]}"] if backend in WAIVERS else []
    result = suite(None, "-k", what, *waivers, spec=f"{TARGETS}.{backend}:target")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 4


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
    result.stdout.fnmatch_lines(["*torch sees no CUDA device*"])
    assert result.ret != 0
