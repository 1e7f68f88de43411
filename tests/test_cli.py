"""The command line: what it prints, where it says it, and the exit status."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradverify import cli
from gradverify.commands._kinds import KINDS
from gradverify.report import read
from tests.rows import failing, finding, report

HEAD = """
import numpy as np
import gradverify as gv

def forward(x, W):
    return x @ W.T, (x, W)

def backward(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": upstream.T @ x}

def halved(upstream, cache):
    x, W = cache
    return {"x": upstream @ W, "W": 0.5 * upstream.T @ x}

def primals(rng):
    return {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((4, 3))}
"""
RIGHT = """
@gv.subject
def right(rng):
    return (forward, backward), primals(rng)
"""
WRONG = """
@gv.subject
def wrong(rng):
    return (forward, halved), primals(rng)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    def gradverify(*argv):
        status = cli.main([str(a) for a in argv])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return status, said.out, said.err

    return gradverify


def write(folder, name="net.py", *parts):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + "".join(parts))
    return Path(name)


def test_a_right_subject_passes_with_its_resolution(here, run):
    status, out, err = run("check", write(here, "net.py", RIGHT))
    assert (status, err) == (0, "")
    row = out.splitlines()[1].split()
    assert row[:4] == ["pass", "net.py:right", "2", "gradients"]
    assert float(row[4]) < 1e-7


def test_a_wrong_subject_fails_with_parameter_entry_both_values_cause_and_the_command_that_repeats_it(here, run):
    status, out, _ = run("check", write(here, "net.py", WRONG))
    assert status == 1
    assert re.search(r"fail +net\.py:wrong +gradient of W +\[\d, \d\] +\S+e\S+ +\S+e\S+ ± \S+ +scale", out)
    assert "repeat: gradverify check net.py:wrong --seed 0 --checks pullback-matches-oracle" in out
    assert re.search(r"1 subject: 1 fail \(\d+ checks judged, .* s\)", out)


def test_the_command_that_repeats_a_line_repeats_it(here, run):
    _, out, _ = run("check", write(here, "net.py", WRONG))
    command = next(line.split("repeat: ")[1] for line in out.splitlines() if "repeat: " in line)
    _, again, _ = run(*command.split()[1:])
    assert again.splitlines()[1] == out.splitlines()[1]


def test_a_name_chooses_one_subject_of_a_file(here, run):
    status, out, _ = run("check", f"{write(here, 'net.py', RIGHT, WRONG)}:right")
    assert status == 0
    assert "net.py:wrong" not in out


def test_a_folder_means_every_file_in_it_in_order(here, run):
    write(here, "nets/b.py", RIGHT)
    write(here, "nets/a.py", WRONG)
    write(here, "nets/helper.py")
    status, out, _ = run("check", "nets")
    assert status == 1
    assert re.findall(r"nets/\w+\.py:\w+(?= )", out)[:1] == ["nets/a.py:wrong"]
    assert out.index("nets/a.py") < out.index("nets/b.py")


def test_only_takes_patterns(here, run):
    status, out, _ = run("check", write(here, "net.py", RIGHT, WRONG), "--only", "ri*")
    assert status == 0
    assert "net.py:wrong" not in out


def test_fail_fast_stops_and_says_how_many_were_not_run(here, run):
    status, out, _ = run("check", write(here, "net.py", WRONG, RIGHT), "--fail-fast")
    assert status == 1
    assert "1 not run" in out


def test_quiet_leaves_out_what_passes(here, run):
    _, out, _ = run("check", write(here, "net.py", RIGHT, WRONG), "-q")
    assert "net.py:right" not in out
    assert "2 subjects: 1 pass, 1 fail" in out


def test_prints_of_the_file_stay_out_of_the_table(here, run):
    loud = "print('noise while loading')\n" + RIGHT.replace("return", "print('noise'); return")
    _, out, err = run("check", write(here, "net.py", loud))
    assert "noise" not in out + err


def test_a_file_may_import_its_neighbours_even_when_another_folder_has_one_of_the_same_name(here, run):
    for folder, body in (("one", "halved"), ("two", "backward")):
        write(here, f"{folder}/layers.py")
        code = f"from layers import forward, {body} as back\n" + RIGHT.replace("backward", "back")
        write(here, f"{folder}/net.py", code)
    status, out, _ = run("check", "one/net.py", "two/net.py")
    assert status == 1
    assert re.search(r"fail +one/net\.py:right", out)
    assert re.search(r"pass +two/net\.py:right", out)
    assert "layers" not in sys.modules


def test_a_neighbour_imported_late_is_found(here, run):
    write(here, "nets/layers.py")
    late = RIGHT.replace("    return", "    from layers import backward as back\n    return").replace(
        "backward),", "back),"
    )
    assert run("check", write(here, "nets/net.py", late))[0] == 0


def test_keywords_of_the_decorator_reach_verify(here, run):
    code = WRONG.replace("@gv.subject", "@gv.subject(name='half', tolerance=0.01, seed=7)")
    status, out, _ = run(
        "check", write(here, "net.py", "halved = lambda u, c: {**backward(u, c), 'x': 0.999 * u @ c[1]}\n", code)
    )
    assert status == 0
    assert "net.py:half" in out


def test_constants_are_handed_over(here, run):
    code = """
@gv.subject
def scaled(rng):
    def forward(x, factor):
        return factor * x, factor
    def backward(upstream, factor):
        return {"x": factor * upstream}
    return (forward, backward), {"x": rng.standard_normal(3)}, {"factor": 2.5}
"""
    assert run("check", write(here, "net.py", code))[0] == 0


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["check", "nope.py"], 2, "there is no file 'nope.py'"),
        (["check", "empty"], 2, "the folder 'empty' holds no Python file"),
        (["check", "plain"], 2, "plain has no subject; mark a function of rng with @gv.subject"),
        (["check", "plain/helper.py"], 2, "has no subject"),
        (["check", "net.py:rihgt"], 2, "net.py has no subject called 'rihgt'; did you mean 'right'?"),
        (["check", "net.py", "--only", "rihgt"], 2, "has a subject called 'rihgt'; did you mean 'right'?"),
        (["check", "net.py", "--level", "standart"], 2, "no level is called 'standart'; did you mean 'standard'?"),
        (["check", "net.py", "--dtype", "float31"], 2, "did you mean 'float32'?"),
        (["check", "net.py", "--seed", "-1"], 2, "a seed is a whole number"),
        (["check", "net.py", "--device", "GPU 1"], 2, "a device is cpu, cuda or cuda:N"),
        (["check", "net.py", "--checks", "linear-in-upstrem"], 2, "did you mean 'linear-in-upstream'?"),
        (["check", "net.py", "--oracles", "finite-diffs"], 2, "did you mean 'finite-differences'?"),
        (["check", "net.py", "--format", "htlm"], 2, "did you mean 'html'?"),
        (["check", "net.py", "--out", "report.docx"], 2, "known suffixes"),
        (["check", "net.py", "--checks", " , "], 2, "argument --checks: it is empty"),
        (["check", "net.py", "--out", ""], 2, "argument --out: it is empty"),
        (["check", "net.py", "--format", ""], 2, "argument --format: it is empty"),
        (["check", ""], 2, "argument FILE[:NAME]: it is empty"),
        (["check", ":right"], 2, "there is no file ':right'"),
        (["check"], 2, "the following arguments are required"),
        (["chekc", "net.py"], 2, "no command is called 'chekc'; did you mean 'check'?"),
        (["explain", "transpose"], 2, "nothing is called 'transpose'; did you mean 'transposed'?"),
        (["list", "oracels"], 2, "no kind is called 'oracels'"),
        (["render", "nope.jsonl", "--to", "html"], 2, "there is no report 'nope.jsonl'"),
        (["render", "cut.jsonl", "--to", "html"], 3, "is incomplete"),
        (["compare", "cut.jsonl", "cut.jsonl"], 3, "is incomplete"),
        (["new", "check", "Not A Name"], 2, "is no name"),
        (["new", "format", "html"], 2, "the format 'html' is there already; see: gradverify explain html"),
        (["new", "check", "class"], 2, "'class' is a word of Python"),
        (["new", "check", "test-it"], 2, "'test-it' is what tests are called"),
        (["new", "check", "numpy"], 2, "there is a module numpy already, which numpy.py would hide"),
        (["new", "check", "mine", "--out", "/proc/nowhere"], 2, "No such file or directory: '/proc/nowhere'"),
        (["new", "chekc", "x"], 2, "no kind is called 'chekc'; did you mean 'check'?"),
    ],
)
def test_bad_input_gets_one_clear_message_on_stderr(here, run, argv, status, message):
    (here / "empty").mkdir()
    write(here, "plain/helper.py")
    write(here, "net.py", RIGHT)
    lines = report(finding()).save("whole.jsonl").read_text().splitlines()
    Path("cut.jsonl").write_text("\n".join(lines[:-1]))
    got, out, err = run(*argv)
    assert (got, out) == (status, "")
    assert message in err
    assert err.startswith("gradverify")


def test_code_that_changes_the_working_directory_changes_no_path_of_the_report(here, run):
    moved = RIGHT.replace("def right(rng):", "def right(rng):\n    import os\n    os.chdir('/')")
    status, out, err = run("check", write(here, "net.py", moved, WRONG), "--level", "quick", "--out", "r.jsonl")
    assert (status, err) == (1, "")
    assert "report: r.jsonl" in out
    assert (here / "r.jsonl").exists()


def test_a_link_that_leads_nowhere_does_not_take_the_folder_with_it(here, run):
    write(here, "net.py", RIGHT)
    (here / "gone.py").symlink_to("nowhere.py")
    status, out, err = run("check", ".")
    assert (status, err) == (0, "")
    assert "1 subject: 1 pass" in out


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero", "broken.py:1: 1 / 0"),
        ("x = 1\ndef f(:", "SyntaxError", "broken.py:2: def f(:"),
        ("import no_such_module_at_all", "ModuleNotFoundError", "broken.py:1: import no_such_module_at_all"),
        ("import sys\nsys.exit(0)", "SystemExit", "broken.py:2: sys.exit(0)"),
    ],
)
def test_a_file_that_does_not_import_is_an_error_that_shows_the_users_own_line(here, run, code, message, line):
    Path("broken.py").write_text(code)
    status, out, err = run("check", "broken.py")
    assert (status, out) == (3, "")
    assert message in err
    assert line in err


def test_one_broken_file_does_not_take_the_others_with_it(here, run):
    write(here, "nets/a.py")
    Path("nets/a.py").write_text("1 / 0")
    write(here, "nets/b.py", RIGHT)
    status, out, err = run("check", "nets")
    assert status == 3
    assert re.search(r"pass +nets/b\.py:right", out)
    assert "nets/a.py does not import" in err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "returned a int"),
        ("return (forward, backward), primals(rng), {}, 1", "returned a tuple of 4"),
        ("return 3, primals(rng)", "cannot tell how to drive 3"),
        ("raise KeyError('lost')", "KeyError: 'lost'\n"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("return (forward, lambda upstream, cache: 1 / 0), primals(rng)", "ZeroDivisionError"),
        ("return (forward, backward), {}", "no primals"),
    ],
)
def test_whatever_a_subject_does_costs_it_one_row(here, run, body, message):
    code = f"\n@gv.subject\ndef odd(rng):\n    {body}\n"
    status, out, _ = run("check", write(here, "net.py", code, RIGHT))
    assert status == 3
    assert re.search(r"error +net\.py:odd", out)
    assert message in out
    assert re.search(r"pass +net\.py:right", out)


def test_the_users_line_is_shown_where_the_users_code_raised(here, run):
    code = "\n@gv.subject\ndef odd(rng):\n    raise KeyError('lost')\n"
    _, out, _ = run("check", write(here, "net.py", code))
    assert re.search(r"net\.py:\d+: raise KeyError\('lost'\)", out)


def test_verbose_shows_the_traceback_and_every_finding(here, capsys):
    code = "\n@gv.subject\ndef odd(rng):\n    raise KeyError('lost')\n"
    cli.main(["check", str(write(here, "net.py", code, RIGHT)), "-v"])
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert re.search(r"pass +linear-in-upstream", said.out)


def test_nothing_judged_is_exit_status_5(here, run):
    code = RIGHT.replace("@gv.subject", "@gv.subject(checks=['integers-get-no-gradient'])")
    status, out, _ = run("check", write(here, "net.py", code))
    assert (status, out.count("inconclusive")) == (5, 2)


def test_a_decorator_with_an_unknown_keyword_is_a_usage_error(here, run):
    status, _, err = run("check", write(here, "net.py", RIGHT.replace("@gv.subject", "@gv.subject(levle='quick')")))
    assert status == 2
    assert "does not know levle" in err


def test_a_subject_that_does_not_take_rng_is_a_usage_error(here, run):
    status, _, err = run("check", write(here, "net.py", RIGHT.replace("right(rng)", "right()")))
    assert status == 2
    assert "must take one argument, the random generator rng" in err


@pytest.mark.parametrize(
    ("out", "name"), [("r.md", "r.md"), ("folder", "folder/check.jsonl"), ("a/b/r.html", "a/b/r.html")]
)
def test_out_writes_the_report_by_suffix_or_into_a_folder(here, run, out, name):
    status, said, _ = run("check", write(here, "net.py", RIGHT), "--out", out)
    assert status == 0
    assert f"report: {name}" in said
    assert "right" in Path(name).read_text()


def test_a_report_that_cannot_be_written_is_one_line(here, run):
    status, _, err = run("check", write(here, "net.py", RIGHT), "--level", "quick", "--out", "net.py/r.jsonl")
    assert status == 2
    assert err.startswith("gradverify: ")
    assert "net.py" in err
    assert len(err.splitlines()) == 1


def test_the_written_report_reads_back_with_its_command_and_repeat(here, run):
    run("check", write(here, "net.py", WRONG), "--seed", "3", "--out", "r.jsonl")
    back = read("r.jsonl")
    assert back.verdict == "fail"
    assert back.header["seed"] == 3
    bad = next(f for f in back.findings if f.verdict == "fail")
    assert bad.repeat.startswith("gradverify check net.py:wrong --seed 3")


def test_format_prints_the_report_in_place_of_the_table(here, run):
    _, out, _ = run("check", write(here, "net.py", RIGHT), "--format", "junit")
    assert out.startswith("<?xml")


def test_two_runs_with_the_same_seed_judge_the_same_numbers(here, run):
    write(here, "net.py", WRONG)
    for name in ("a.jsonl", "b.jsonl"):
        run("check", "net.py", "--seed", "5", "--out", name)
    a, b = (read(name) for name in ("a.jsonl", "b.jsonl"))
    assert [(f.of, f.got, f.want) for f in a.findings] == [(f.of, f.got, f.want) for f in b.findings]


def test_render_prints_or_writes(here, run):
    report(failing()).save("r.jsonl")
    assert "| fail |" in run("render", "r.jsonl", "--to", "markdown")[1]
    assert run("render", "r.jsonl", "--to", "html", "--out", "pages")[1].strip() == "pages/r.html"
    assert Path("pages/r.html").read_text().startswith("<!doctype html>")


def test_compare_has_exit_status_1_when_something_got_worse(here, run):
    report(finding()).save("old.jsonl")
    report(failing()).save("new.jsonl")
    assert run("compare", "old.jsonl", "old.jsonl")[0] == 0
    status, out, _ = run("compare", "old.jsonl", "new.jsonl")
    assert status == 1
    assert "pass -> fail" in out


@pytest.mark.parametrize("kind", KINDS)
def test_list_knows_every_kind_in_singular_and_plural(run, kind):
    assert run("list", kind) == run("list", f"{kind}s")


def test_list_shows_every_kind_under_its_heading(run):
    assert [line for line in run("list")[1].splitlines() if not line.startswith(" ")] == [f"{kind}s" for kind in KINDS]


def test_explain_prints_the_docstring_and_the_planted_bugs(run):
    _, out, _ = run("explain", "linear-in-upstream")
    assert out.startswith("linear-in-upstream (check)\n")
    assert "planted bugs that it catches: " in out


@pytest.mark.parametrize("kind", ["check", "invariant", "mutant", "cause", "oracle"])
def test_everything_that_finds_or_is_found_explains_itself_with_an_example_of_each_side(run, kind):
    from gradverify.commands._kinds import registry_of

    for name in registry_of(kind):
        out = run("explain", name)[1]
        right, wrong = ("Answers: ", "Declines: ") if kind == "oracle" else ("Right: ", "Wrong: ")
        assert right in out, name
        assert wrong in out, name
        assert "<function" not in out, name


def test_every_example_belongs_to_something_that_is_there():
    from gradverify import registry
    from gradverify.commands import _examples

    assert set(_examples.CAUSES) <= set(registry.cause)
    assert set(_examples.MUTANTS) <= set(registry.mutant)
    assert set(_examples.ORACLES) <= set(registry.oracle)


def test_an_op_is_named_once_in_an_explanation(run):
    (line,) = [line for line in run("explain", "bias-is-sum-of-deltas")[1].splitlines() if line.startswith("ops: ")]
    ops = line.removeprefix("ops: ").split(", ")
    assert len(ops) == len(set(ops))


def test_a_check_names_a_planted_bug_that_it_catches(run):
    from gradverify.commands._kinds import registry_of

    assert all("planted bugs that it catches" in run("explain", name)[1] for name in registry_of("check"))


def test_an_invariant_says_in_words_where_it_applies(run):
    assert "applies where: True for two samples or more" in run("explain", "batch-additivity")[1]


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive", "skipped", "error"])
def test_explain_knows_the_verdicts(run, verdict):
    assert run("explain", verdict)[1].startswith(f"{verdict} (verdict)")


@pytest.mark.slow
def test_every_skeleton_passes_its_own_test_and_the_type_checker(here, run):
    for kind in KINDS:
        status, out, _ = run("new", kind, f"my-own-{kind}", "--out", "mine")
        assert status == 0
        assert out.splitlines()[:2] == [f"mine/my_own_{kind}.py", f"mine/test_my_own_{kind}.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    pytest.importorskip("mypy")
    typed = [str(path) for path in sorted(Path("mine").glob("my_own_*.py"))]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *typed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_skeleton_is_documented_python(here, run, kind):
    run("new", kind, "my-own-thing")
    assert ast.get_docstring(ast.parse(Path("my_own_thing.py").read_text()))


def test_new_overwrites_nothing(here, run):
    run("new", "check", "my-own-thing")
    status, _, err = run("new", "check", "my-own-thing")
    assert status == 2
    assert "exists; nothing was written" in err


def test_help_is_fast_and_loads_no_numpy():
    code = "import sys; from gradverify.cli import main; main(['--help']); print('numpy' in sys.modules)"
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        out = subprocess.check_output([sys.executable, "-c", code], text=True)
        seconds.append(time.perf_counter() - started)
    assert out.splitlines()[-1] == "False"
    bare = time.perf_counter()
    subprocess.check_output([sys.executable, "-c", "pass"])
    bare = time.perf_counter() - bare
    assert min(seconds) < 0.1 + 3 * bare  # a busy machine starts even an empty program slowly


def test_every_command_has_a_help_of_its_own(run):
    for name in cli.available():
        status, out, _ = run(name, "--help")
        assert status == 0
        assert f"usage: gradverify {name}" in out


def test_a_study_that_is_not_there_is_not_listed(monkeypatch):
    monkeypatch.setitem(cli.STUDIES, "dream", ("gradverify.studies.no_such_study", "nothing"))
    assert "dream" not in cli.available()


def test_a_study_that_is_there_gets_its_arguments(monkeypatch, tmp_path, run):
    (tmp_path / "my_study.py").write_text("def main(args):\n    print(args.out, args.seed)\n    return 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.STUDIES, "dream", ("my_study", "a study"))
    assert run("dream", "--out", "there", "--seed", "4") == (7, "there 4\n", "")


def test_version_and_no_command(run):
    assert re.fullmatch(r"gradverify \d+\.\d+\.\d+\n", run("--version")[1])
    status, out, _ = run()
    assert status == 2
    assert "usage: gradverify" in out


def test_python_dash_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "gradverify", "check", "nope.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_the_json_lines_on_stdout_are_whole(here, run):
    _, out, _ = run("check", write(here, "net.py", RIGHT), "--format", "jsonl")
    assert [json.loads(line)["kind"] for line in out.splitlines()][:: len(out.splitlines()) - 1] == ["header", "footer"]


def watched(argv):
    """What a person at a terminal sees: stdout and stderr of the command on a pseudo-terminal."""
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "gradverify", *argv], stdout=terminal, stderr=terminal)
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError):  # how Linux says that the terminal was closed
        while chunk := os.read(controller, 4096):
            said += chunk
    os.close(controller)
    return process.wait(), said.decode()


@pytest.mark.slow
def test_a_terminal_is_told_what_takes_longer_than_a_second(here):
    slow = RIGHT.replace("    return", "    import time; time.sleep(1.6)\n    return")
    write(here, "net.py", slow)
    status, said = watched(["check", "net.py"])
    assert status == 0
    assert "1/1 net.py:right" in said


def test_where_nobody_watches_there_is_no_progress(here):
    slow = RIGHT.replace("    return", "    import time; time.sleep(1.3)\n    return")
    write(here, "net.py", slow)
    done = subprocess.run(
        [sys.executable, "-m", "gradverify", "check", "net.py"], capture_output=True, text=True, check=False
    )
    assert "1/1" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
