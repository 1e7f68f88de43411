"""What the pytest plugin says where it is used wrongly, and that no misuse weakens a test unseen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gradverify.report import read
from tests.test_pytest_plugin import CHECK, HEAD, WAIVER, tests  # noqa: F401  a fixture is imported by its name

BOOM = """
def boom(upstream, cache):
    raise ValueError("no kernel")
"""


def outside(result):
    """The lines of gradverify's own files that a failure shows."""
    return [line for line in result.outlines if line.startswith(("gradverify/", "/")) and "gradverify/" in line]


def test_a_backward_that_raises_is_shown_by_the_users_frames_alone(tests):  # noqa: F811
    result = tests(BOOM + "def test_it(gradverify):\n    gradverify((forward, boom), PRIMALS)")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*raise ValueError(*", "E *AdapterError: backward raised ValueError: no kernel*"])
    assert not outside(result)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("(forward, right), PRIMALS, levle='quick'", "has no keyword 'levle'; did you mean 'level'? known: constants*"),
        ("(forward, right), PRIMALS, level='quik'", "level='quik'; the levels are quick, standard, thorough"),
        ("(forward, right), [1]", "primals is a list; give a mapping of names to arrays*"),
        ("3, PRIMALS", "cannot tell how to drive 3; accepted are"),
    ],
)
def test_a_call_that_does_not_fit_is_a_message_without_frames_of_ours(tests, call, message):  # noqa: F811
    result = tests(f"def test_it(gradverify):\n    gradverify({call})")
    result.stdout.fnmatch_lines([f"E *{message}"])
    assert not outside(result)


def test_what_could_not_be_driven_is_an_error_in_table_and_report(tests, pytester):  # noqa: F811
    body = BOOM + "def test_it(gradverify):\n    gradverify((forward, boom), PRIMALS)"
    tests(body, "--gradverify-report=r.jsonl").stdout.fnmatch_lines(["error * test_it.py::test_it*"])
    report = read(pytester.path / "r.jsonl")
    assert report.verdict == "error"
    assert report.findings[0].why == "backward raised ValueError: no kernel"


def test_primals_may_be_missing_where_gv_verify_needs_none(tests):  # noqa: F811
    body = f"""
class Layer:
    def __init__(self):
        self.W, self.x = PRIMALS["W"].copy(), PRIMALS["x"]
    def forward(self):
        return self.x @ self.W.T
    def backward(self, upstream):
        self.dW = upstream.T @ self.x
def test_it(gradverify):
    assert gradverify(Layer(), {CHECK}).verdict == "pass"
"""
    tests(body).assert_outcomes(passed=1)


def test_a_fail_that_the_test_expects_is_called_so(tests, pytester):  # noqa: F811
    body = f"""
def test_it(gradverify):
    with pytest.raises(gv.GradientFailure):
        gradverify((forward, wrong), PRIMALS, {CHECK})
"""
    tests(body, "--gradverify-report=r.jsonl").stdout.fnmatch_lines(["fail (expected) *"])
    failing = [f for f in read(pytester.path / "r.jsonl").findings if f.verdict == "fail"]
    assert failing[0].notes == ("expected: the test expects it",)


def test_keywords_of_a_class_and_of_its_test_are_put_together(tests):  # noqa: F811
    body = """
@pytest.mark.gradverify(level="quick", seed=1)
class TestIt:
    @pytest.mark.gradverify(seed=2)
    def test_it(self, gradverify):
        header = gradverify((forward, right), PRIMALS).header
        assert (header["level"], header["seed"]) == ("quick", 2)
"""
    tests(body).assert_outcomes(passed=1)


@pytest.mark.slow
def test_what_repeats_a_row_has_the_options_of_the_run_and_works_from_here(pytester):
    body = """
import numpy as np
def test_it(gradverify):
    gradverify((lambda x: (x**2, x), lambda u, x: u * x), {"x": np.linspace(1.0, 2.0, 3)}, checks=["shape", VALUE])
"""
    pytester.makefile(".ini", pytest="[pytest]")
    pytester.mkdir("deep").joinpath("test_it.py").write_text(body.replace("VALUE", "'pullback-matches-oracle'"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--gradverify-level=quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=pytester.path / "deep")
    assert "repeat: pytest test_it.py::test_it --gradverify-level quick --gradverify-seed 0" in done.stdout


@pytest.mark.parametrize("extra", [[], ["-n1"]])
def test_a_report_that_cannot_be_written_is_said_in_one_line_and_costs_the_status(tests, extra):  # noqa: F811
    body = f"def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, {CHECK})"
    result = tests(body, "--gradverify-report=/proc/nowhere/r.jsonl", *extra)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["gradverify: the report /proc/nowhere/r.jsonl cannot be written: *"])
    result.assert_outcomes(passed=1)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_folder_is_no_report(tests, pytester):  # noqa: F811
    pytester.mkdir("r.jsonl")
    result = tests("def test_it():\n    pass", "--gradverify-report=r.jsonl")
    result.stderr.fnmatch_lines(["ERROR: gradverify: --gradverify-report=*r.jsonl is a folder; name a file in it"])


@pytest.mark.parametrize("option", ["report", "waivers", "target"])
def test_an_option_that_is_empty_is_refused(tests, option):  # noqa: F811
    result = tests("def test_it():\n    pass", f"--gradverify-{option}=")
    result.stderr.fnmatch_lines([f"ERROR: gradverify: --gradverify-{option} is empty"])


def test_collecting_writes_no_report(tests, pytester):  # noqa: F811
    tests("def test_it(gradverify):\n    pass", "--collect-only", "--gradverify-report=r.jsonl")
    assert not (pytester.path / "r.jsonl").exists()


@pytest.mark.parametrize("suffix", [".html", ".csv", ".xml", ".md", ".json"])
def test_a_report_of_an_interrupted_run_says_so_in_every_format(tests, pytester, suffix):  # noqa: F811
    body = f"""
def test_a(gradverify):
    gradverify((forward, right), PRIMALS, {CHECK})
def test_b():
    raise KeyboardInterrupt
"""
    pytester.makepyfile(test_it=HEAD + body)
    pytester.runpytest_subprocess(f"--gradverify-report=r{suffix}")
    assert "the run was interrupted" in (pytester.path / f"r{suffix}").read_text()


MARKED = f"""
@pytest.mark.xfail(reason="known", strict=True)
@gv.subject({CHECK})
def known(rng):
    return (forward, wrong), PRIMALS

@pytest.mark.skip(reason="not here")
@gv.subject({CHECK})
def skipped(rng):
    return (forward, wrong), PRIMALS

@pytest.mark.gradverify({CHECK}, seed=4)
@gv.subject
def seeded(rng):
    assert rng.integers(1 << 60) == gv.types.rng_for(4, "seeded").integers(1 << 60)
    return (forward, right), PRIMALS

@pytest.mark.special
@gv.subject({CHECK})
def chosen(rng):
    return (forward, right), PRIMALS
"""


def test_marks_on_a_subject_mean_what_they_mean_on_a_test(tests):  # noqa: F811
    result = tests(MARKED, "-o", "markers=special", "--strict-markers", "-rs")
    result.assert_outcomes(xfailed=1, skipped=1, passed=2)
    result.stdout.fnmatch_lines(["SKIPPED*not here"])
    tests(MARKED, "-o", "markers=special", "-m", "special").assert_outcomes(passed=1)


@pytest.mark.parametrize("mark", ["parametrize('i', [1, 2])", "usefixtures('tmp_path')"])
def test_a_mark_that_means_nothing_to_a_subject_is_refused(tests, mark):  # noqa: F811
    result = tests(f"@pytest.mark.{mark}\n@gv.subject\ndef net(rng, i=0):\n    return (forward, right), PRIMALS")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["net: a @gv.subject takes rng alone, so @pytest.mark.* means nothing to it*"])


def test_a_subject_in_a_class_would_never_run_so_it_is_refused(tests):  # noqa: F811
    result = tests("class TestIt:\n    @gv.subject\n    def net(self):\n        return (forward, right), PRIMALS")
    result.stdout.fnmatch_lines(["E *@gv.subject marks functions of a module, and TestIt.net is in a class*"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('no data')", "KeyError: 'no data'"),
        ("return 3", "net returned a int; a subject returns (subject, primals)*"),
        ("return (forward, right), [1]", "primals is a list; give a mapping*"),
        ("return (forward, lambda u, c: 1 / 0), PRIMALS", "ZeroDivisionError: *"),
    ],
)
def test_a_subject_that_raises_costs_a_few_lines(tests, body, message):  # noqa: F811
    result = tests(f"@gv.subject({CHECK})\ndef net(rng):\n    {body}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message, "error * test_it.py::net*"])
    assert len(result.outlines) < 40


def test_a_check_that_is_never_called_is_a_fail(tests):  # noqa: F811
    body = """
@gv.parametrize_with_checks([((forward, right), PRIMALS)], checks=["shape"])
def test_contract(check):
    check
"""
    result = tests(body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*never called its argument, so nothing was checked: write check() in the test"])


def test_a_waived_failure_does_not_hide_the_next(tests, pytester):  # noqa: F811
    pytester.path.joinpath("w.toml").write_text(WAIVER + 'case = "first"\n')
    body = f"""
def test_it(gradverify):
    gradverify((forward, wrong), PRIMALS, {CHECK}, name="first")
    gradverify((forward, wrong), PRIMALS, {CHECK}, name="second")
"""
    tests(body, "--gradverify-waivers=w.toml").assert_outcomes(failed=1)
    once = body.replace("second", "first")
    tests(once, "--gradverify-waivers=w.toml", "-rx").stdout.fnmatch_lines(["XFAIL*half is what we want"])
    tests(once, "--gradverify-waivers=w.toml", "--runxfail").assert_outcomes(failed=1)


def test_a_stale_waiver_does_not_hide_a_failure(tests, pytester):  # noqa: F811
    pytester.path.joinpath("w.toml").write_text('[[waiver]]\ncheck = "shape"\nreason = "r"\n')
    body = f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK[:-1]})".replace(
        "checks=['pull", "checks=['shape', 'pull"
    )
    result = tests(body.replace("finite-differences'", "finite-differences']"), "--gradverify-waivers=w.toml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *fail: gradient of W wrong*"])


def test_a_marker_with_a_typo_stops_a_run_of_workers_with_one_line(tests):  # noqa: F811
    result = tests("@pytest.mark.gradverify(levle='quick')\ndef test_it():\n    pass", "-n1")
    assert result.ret != 0
    said = result.stdout.str() + result.stderr.str()
    assert "does not know 'levle'; did you mean 'level'?" in said
