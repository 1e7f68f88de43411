"""The pytest plugin, run by pytest within pytest."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from gradverify import parametrize, pytest_plugin, subjects
from gradverify.report import read

HEAD = """
import numpy as np
import pytest
import gradverify as gv

def forward(x, W):
    return x @ W.T, (x, W)

def right(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": upstream.T @ x}

def wrong(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": 0.5 * upstream.T @ x}

rng = np.random.default_rng(0)
PRIMALS = {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((4, 3))}
"""

# loaded before pytest runs within pytest, which forgets what the inner run imported: one copy for all runs
assert parametrize.BoundCheck.is_a_bound_check

CHECK = (
    "checks=['pullback-matches-oracle'], oracles=['finite-differences']"  # without torch: it takes seconds to import
)


@pytest.fixture
def tests(pytester):
    """Write a test file and run it; further arguments go to pytest."""

    def run(body, *args):
        pytester.makepyfile(test_it=HEAD + body)
        return pytester.runpytest("-p", "no:cacheprovider", *args)

    return run


def test_a_right_gradient_passes_and_the_fixture_returns_the_report(tests):
    body = f"def test_it(gradverify):\n    assert gradverify((forward, right), PRIMALS, {CHECK}).verdict == 'pass'"
    tests(body).assert_outcomes(passed=1)


def test_a_wrong_gradient_fails_with_the_failure_text_and_no_frame_of_the_plugin(tests):
    result = tests(f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *gradverify.errors.GradientFailure: fail: gradient of W wrong, because of scale*",
            "E *FAIL  pullback-matches-oracle*",
            "E *worst at [[]*[]]: got *, want * ± *, gap *, budget *",
            "E *cause: scale: *",
            "E *repeat: pytest test_it.py::test_it --gradverify-seed 0",
        ]
    )
    assert "recording.py" not in result.stdout.str()


def test_the_failure_is_an_assertion_error(tests):
    body = f"""
def test_it(gradverify):
    with pytest.raises(AssertionError, match="gradient of W"):
        gradverify((forward, wrong), PRIMALS, {CHECK})
"""
    tests(body).assert_outcomes(passed=1)


def test_nothing_judged_is_a_failure(tests):
    result = tests(
        "def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, checks=['integers-get-no-gradient'])"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*inconclusive: nothing was judged*"])


def test_the_table_at_the_end_says_how_many_checks_judged(tests):
    body = f"""
def test_a(gradverify):
    gradverify((forward, right), PRIMALS, {CHECK})
def test_b(gradverify):
    gradverify((forward, wrong), PRIMALS, {CHECK})
"""
    tests(body).stdout.fnmatch_lines(
        [
            "*= gradverify =*",
            "verdict  test *",
            "fail * test_it.py::test_b *",
            "pass * test_it.py::test_a *",
            "4 checks judged in 2 tests*",
        ]
    )


def test_columns_are_chosen_and_validated(tests):
    body = f"def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, {CHECK})"
    result = tests(body, "--gradverify-columns=test,verdict,seconds")
    result.stdout.re_match_lines([r"test +verdict +seconds", r"test_it\.py::test_it +pass +\d\.\d\d"])
    result = tests(body, "--gradverify-columns=tset")
    result.stderr.fnmatch_lines(["ERROR: gradverify: no column is called 'tset'; did you mean 'test'?*"])


def test_a_run_that_does_not_use_it_shows_nothing_of_it(tests):
    result = tests("def test_it():\n    pass")
    assert "gradverify" not in "\n".join(line for line in result.outlines if not line.startswith("plugins:"))


@pytest.mark.parametrize("extra", [[], ["-n2"]])
def test_the_report_file_holds_all_findings(tests, pytester, extra):
    body = f"""
@pytest.mark.parametrize("i", range(6))
def test_it(gradverify, i):
    gradverify((forward, right), PRIMALS, {CHECK})
"""
    tests(body, "--gradverify-report=out/r.jsonl", *extra).assert_outcomes(passed=6)
    report = read(pytester.path / "out/r.jsonl")
    assert report.verdict == "pass"
    assert {f.facts["test"] for f in report.findings} == {f"test_it.py::test_it[{i}]" for i in range(6)}


def test_rows_survive_a_worker_that_dies(tests, pytester):
    body = f"""
import os
@pytest.mark.parametrize("i", range(8))
def test_it(gradverify, i):
    gradverify((forward, right), PRIMALS, {CHECK})
    if i == 5:
        os._exit(3)
"""
    result = tests(body, "-n2", "--gradverify-report=r.jsonl")
    result.stdout.fnmatch_lines(["worker gw* the rows of the test that it ran are lost"])
    report = read(pytester.path / "r.jsonl")
    assert {f.facts["test"] for f in report.findings if f.check != "worker"} >= {
        f"test_it.py::test_it[{i}]" for i in range(8) if i != 5
    }
    assert report.verdict == "error"
    assert "INTERNALERROR" not in result.stdout.str()


def test_an_interrupted_run_leaves_a_report_that_is_refused_as_incomplete(tests, pytester):
    body = f"""
def test_a(gradverify):
    gradverify((forward, right), PRIMALS, {CHECK})
def test_b():
    raise KeyboardInterrupt
"""
    pytester.makepyfile(test_it=HEAD + body)
    pytester.runpytest_subprocess("--gradverify-report=r.jsonl")
    with pytest.raises(Exception, match="is incomplete"):
        read(pytester.path / "r.jsonl")


def test_an_unknown_suffix_is_refused_before_anything_runs(tests):
    result = tests("def test_it():\n    pass", "--gradverify-report=r.docx")
    result.stderr.fnmatch_lines(["ERROR: gradverify: 'r.docx' does not say in which format*"])


def test_numpy_values_in_a_report_do_not_break_xdist(tests):
    body = f"""
import dataclasses
from gradverify.recording import Recorder
def test_it(gradverify):
    report = gradverify((forward, right), PRIMALS, {CHECK})
    odd = dataclasses.replace(report.findings[0], gap=np.float64(1), facts={{"a": np.float32(2), "b": np.arange(3)}})
    gradverify.record(dataclasses.replace(report, findings=(odd,)), 0)
"""
    result = tests(body, "-n1")
    result.assert_outcomes(passed=1)
    assert "INTERNALERROR" not in result.stdout.str()


def test_junit_properties_are_written_under_xdist_too(tests, pytester):
    tests(f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK})", "-n1", "--junitxml=j.xml")
    properties = {p.get("name"): p.get("value") for p in ElementTree.parse(pytester.path / "j.xml").iter("property")}
    assert properties["gradverify_verdict"] == "fail"
    assert properties["gradverify_causes"] == "scale"


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("levle='quick'", "does not know 'levle'; did you mean 'level'?"),
        ("level='quik'", "no level is called 'quik'; did you mean 'quick'?"),
        ("'quick'", "takes keywords only, not 'quick'; known: level, seed"),
        ("seed=-1", "a seed is a whole number from 0 up, not '-1'"),
        ("seed='1'", "a seed is a whole number from 0 up, not '1'"),
        ("seed=True", "a seed is a whole number from 0 up, not True"),
        ("dtype='float31'", "no dtype is called 'float31'; did you mean 'float32'?"),
        ("device='GPU 1'", "a device is cpu, cuda or cuda:N, not 'GPU 1'"),
        ("tolerance='1e-3'", "tolerance is a number from 0 up, not '1e-3'"),
        ("checks='shape'", "checks is a list of names, such as [[]'shape'], not 'shape'"),
        ("checks=['shap']", "no check is called 'shap'; did you mean 'shape'?"),
        (
            "oracles=['finite-diferences']",
            "no oracle is called 'finite-diferences'; did you mean 'finite-differences'?",
        ),
    ],
)
def test_a_marker_with_a_typo_stops_the_run(tests, mark, message):
    result = tests(f"@pytest.mark.gradverify({mark})\ndef test_it():\n    pass")
    result.stderr.fnmatch_lines([f"ERROR: test_it.py::test_it: @pytest.mark.gradverify: {message}*"])


def test_the_marker_is_registered(tests):
    tests("@pytest.mark.gradverify(level='quick')\ndef test_it():\n    pass", "--strict-markers").assert_outcomes(
        passed=1
    )


SEEN = f"""
def test_it(gradverify):
    seen = gradverify((forward, right), PRIMALS, {CHECK}KEYWORDS).header
    assert (seen["level"], seen["seed"]) == EXPECTED
"""


@pytest.mark.parametrize(
    ("mark", "keywords", "args", "expected"),
    [
        ("", "", [], ("standard", 0)),
        ("", "", ["-o", "gradverify_level=quick", "-o", "gradverify_seed=1"], ("quick", 1)),
        ("", "", ["-o", "gradverify_level=quick", "--gradverify-level=thorough"], ("thorough", 0)),
        (
            "@pytest.mark.gradverify(level='quick')",
            "",
            ["--gradverify-level=thorough", "--gradverify-seed=2"],
            ("quick", 2),
        ),
        (
            "@pytest.mark.gradverify(level='quick')",
            ", level='thorough', seed=3",
            ["--gradverify-seed=2"],
            ("thorough", 3),
        ),
    ],
)
def test_the_call_wins_over_the_marker_over_the_option_over_the_ini_key(tests, mark, keywords, args, expected):
    body = mark + SEEN.replace("KEYWORDS", keywords).replace("EXPECTED", repr(expected))
    tests(body, *args).assert_outcomes(passed=1)


def test_the_header_line_appears_only_when_something_is_set(tests):
    tests("def test_it():\n    pass", "--gradverify-level=quick").stdout.fnmatch_lines(["gradverify: level quick"])


def test_columns_may_be_written_one_a_line(tests, pytester):
    pytester.makeini("[pytest]\ngradverify_columns =\n    verdict\n    test\n")
    result = tests(f"def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, {CHECK})")
    assert result.ret == 0
    result.stdout.re_match_lines([r"verdict  test\s*$"])


def test_an_ini_key_that_is_a_list_is_one_clear_line(tests, pytester):
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ngradverify_columns = ["verdict", "test"]')
    result = tests("def test_it():\n    pass")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: gradverify: the ini key gradverify_columns is a text, *"])


def test_a_waiver_of_a_check_that_is_none_says_so(tests, pytester):
    pytester.path.joinpath("w.toml").write_text('[[waiver]]\ncheck = "pullback-matches-oracel"\nreason = "typed"\n')
    code = f"def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, {CHECK})"
    result = tests(code, "--gradverify-waivers=w.toml")
    result.stdout.fnmatch_lines(
        ["stale, *(no check is called 'pullback-matches-oracel'; did you mean 'pullback-matches-oracle'?)"]
    )


def test_an_ini_key_with_a_typo_stops_the_run(tests):
    result = tests("def test_it():\n    pass", "-o", "gradverify_level=quik")
    result.stderr.fnmatch_lines(["ERROR: gradverify: no level is called 'quik'; did you mean 'quick'?*"])


SUBJECTS = f"""
@gv.subject({CHECK})
def net(rng):
    return (forward, wrong), PRIMALS

@gv.subject(name="other", {CHECK})
def test_named_like_a_test(rng):
    return (forward, right), PRIMALS
"""


def test_subjects_of_a_test_module_are_tests(tests):
    result = tests(SUBJECTS)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["fail: gradient of W wrong*", "*repeat: pytest test_it.py::net *"])


def test_subjects_can_be_chosen_with_k(tests):
    tests(SUBJECTS, "-k", "named_like").assert_outcomes(passed=1)


def test_subjects_that_a_module_only_imports_are_not_its_tests(tests, pytester):
    pytester.makepyfile(nets=HEAD + SUBJECTS)
    tests("from nets import net\ndef test_it():\n    pass").assert_outcomes(passed=1)


def test_parametrize_with_checks_makes_a_test_per_check_with_readable_ids(tests):
    body = """
@gv.parametrize_with_checks([("affine", (forward, right), PRIMALS)], checks=["shape", "linear-in-upstream"])
def test_contract(check):
    check()
"""
    result = tests(body, "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["*test_contract[[]affine-shape[]] PASSED*", "*test_contract[[]affine-linear-in-upstream[]] PASSED*"]
    )
    tests(body, "-k", "affine-linear").assert_outcomes(passed=1)


def test_parametrize_with_checks_takes_cases_subjects_and_known_failures(tests):
    body = f"""
@gv.subject
def net(rng):
    return (forward, wrong), PRIMALS
case = gv.Case(name="point", primals=PRIMALS)
@gv.parametrize_with_checks(
    [net, ((forward, wrong), case), ("third", (forward, wrong), PRIMALS, None)],
    {CHECK}, expected_failed_checks={{"pullback-matches-oracle": "known"}},
)
def test_contract(check):
    check()
"""
    tests(body, "-k", "test_contract").assert_outcomes(xfailed=3)


def test_a_check_that_does_not_apply_is_skipped_with_its_reason(tests):
    body = """
@gv.parametrize_with_checks([((forward, right), PRIMALS)], checks=["integers-get-no-gradient"])
def test_contract(check):
    check()
"""
    result = tests(body, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no primal holds integers or bools*"])


@pytest.mark.parametrize("items", ["[]", "[3]", "[((forward, right), [1])]"])
def test_parametrize_with_checks_says_what_it_takes(tests, items):
    result = tests(f"@gv.parametrize_with_checks({items})\ndef test_contract(check):\n    check()")
    result.stdout.fnmatch_lines(["*each item is (subject, primals)*"])


WAIVER = '[[waiver]]\ncheck = "pullback-*"\nreason = "half is what we want"\n'


def test_a_waived_failure_is_an_xfail_with_the_reason(tests, pytester):
    pytester.path.joinpath("w.toml").write_text(WAIVER)
    body = f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK})"
    result = tests(body, "--gradverify-waivers=w.toml", "-rx")
    result.assert_outcomes(xfailed=1)
    result.stdout.fnmatch_lines(["XFAIL*half is what we want"])


def test_a_waiver_for_what_passes_fails_the_test(tests, pytester):
    pytester.path.joinpath("w.toml").write_text(WAIVER)
    body = f"def test_it(gradverify):\n    gradverify((forward, right), PRIMALS, {CHECK})"
    result = tests(body, "-o", "gradverify_waivers=w.toml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*XPASS(strict)*remove the waiver check='pullback-*': half is what we want"])


def test_a_waiver_of_another_check_does_not_hide_the_failure(tests, pytester):
    pytester.path.joinpath("w.toml").write_text(WAIVER.replace("pullback-*", "linear-*"))
    result = tests(
        f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK})", "--gradverify-waivers=w.toml"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["stale, it excused nothing in this run: waiver check='linear-*'*"])


def test_an_expired_waiver_excuses_nothing(tests, pytester):
    pytester.path.joinpath("w.toml").write_text(WAIVER + 'until = "2020-01"\n')
    result = tests(
        f"def test_it(gradverify):\n    gradverify((forward, wrong), PRIMALS, {CHECK})", "--gradverify-waivers=w.toml"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["expired on 2020-01-31: waiver*"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[waiver]]\ncheck = 'a'", "waiver 1: a waiver needs a reason"),
        ("[[waiver]]\nreason = 'a'", "needs at least one of check, case, adapter"),
        ("[[waiver]]\nchekc = 'a'\nreason = 'b'", "unknown key 'chekc'; did you mean 'check'?"),
        ("[[waivers]]\ncheck = 'a'", "unknown key 'waivers'; did you mean 'waiver'?"),
        ("[waiver]\ncheck = 'a'", "with two brackets"),
        ("[[waiver]]\ncheck = 'a'\nreason = ''", "reason is a text that is not empty"),
        ("[[waiver]]\ncheck = 'a'\nreason = 'b'\nuntil = 'soon'", "until is a day such as 2027-01-31"),
        ("[[waiver", "is not TOML"),
    ],
)
def test_a_waivers_file_with_a_mistake_stops_the_run(tests, pytester, text, message):
    pytester.path.joinpath("w.toml").write_text(text)
    result = tests("def test_it():\n    pass", "--gradverify-waivers=w.toml")
    result.stderr.fnmatch_lines([f"ERROR: gradverify: *{message}*"])


def test_a_waivers_file_that_is_not_there_stops_the_run(tests):
    result = tests("def test_it():\n    pass", "--gradverify-waivers=none.toml")
    result.stderr.fnmatch_lines(["ERROR: gradverify: cannot read the waivers *"])


def test_several_calls_in_one_test_are_told_apart(tests, pytester):
    body = f"def test_it(gradverify):\n    for _ in range(2):\n        gradverify((forward, right), PRIMALS, {CHECK})"
    tests(body, "--gradverify-report=r.jsonl").assert_outcomes(passed=1)
    assert {f.case for f in read(pytester.path / "r.jsonl").findings} == {"test_it", "test_it#2"}


def test_of_the_examples_of_a_hypothesis_test_the_worst_is_kept(tests, pytester):
    body = f"""
from hypothesis import given, settings, strategies as st, HealthCheck
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(factor=st.sampled_from([1.0, 2.0]))
def test_it(gradverify, factor):
    gradverify((forward, right), {{**PRIMALS, "W": factor * PRIMALS["W"]}}, {CHECK})
"""
    tests(body, "--gradverify-report=r.jsonl").assert_outcomes(passed=1)
    assert {f.case for f in read(pytester.path / "r.jsonl").findings} == {"test_it"}


def test_a_project_that_does_not_use_it_imports_the_plugin_and_its_options_alone(pytester):
    pytester.makepyfile("def test_it():\n    pass")
    heavy = "{'numpy', 'torch', 'pandas', 'hypothesis', 'rich', 'jinja2'}"
    own = "{'gradverify', 'gradverify.options', 'gradverify.pytest_plugin'}"
    code = (
        "import sys, pytest; pytest.main(['-q', '-p', 'no:hypothesispytest', '.']); "
        "mine = {m for m in sys.modules if m.split('.')[0] == 'gradverify'}; "
        f"print(sorted({heavy} & set(sys.modules)), mine == {own})"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=pytester.path)
    assert out.splitlines()[-1] == "[] True"


def test_a_test_that_does_not_use_it_meets_no_hook_of_it(pytester):
    pytester.makepyfile("""
        def test_it(request):
            names = [name for name, _ in request.config.pluginmanager.list_name_plugin()]
            assert "gradverify" in names
            assert not [n for n in names if n.startswith("gradverify-")]
    """)
    pytester.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)


def test_the_plugin_knows_the_mark_of_a_subject():
    assert pytest_plugin.SUBJECT == subjects.MARK


def test_the_plugin_can_be_switched_off(tests):
    tests("def test_it():\n    pass", "-p", "no:gradverify").assert_outcomes(passed=1)
