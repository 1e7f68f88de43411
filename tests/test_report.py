"""Report: its verdict, its text, and that a saved one reads back exactly or is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gradverify.comparison import compare
from gradverify.errors import GradientFailure, ReportError, UsageError
from gradverify.formats.jsonl import jsonl
from gradverify.report import Report, read
from gradverify.types import Verdict
from tests.rows import failing, finding, report, reports

INCONCLUSIVE = finding(verdict=Verdict.INCONCLUSIVE, of="b")
ERROR = finding(verdict=Verdict.ERROR, of="c", oracle="")
SKIPPED = finding(verdict=Verdict.SKIPPED, of="d", oracle="")


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([], "inconclusive"),
        ([SKIPPED], "inconclusive"),
        ([finding(), SKIPPED], "pass"),
        ([finding(), INCONCLUSIVE], "inconclusive"),
        ([finding(), INCONCLUSIVE, ERROR], "error"),
        ([finding(), INCONCLUSIVE, ERROR, failing()], "fail"),
    ],
)
def test_the_verdict_is_the_worst_and_skipped_rows_do_not_count(rows, verdict):
    assert report(*rows).verdict == verdict


def test_causes_are_named_once_the_most_confident_first():
    def cause(name, confidence):
        return type(failing().causes[0])(name=name, evidence="seen", confidence=confidence)

    rows = [failing(causes=(cause("scale", 0.4), cause("sign", 0.9))), failing(of="b", causes=(cause("scale", 0.5),))]
    assert report(*rows).causes == ["sign", "scale"]


def test_what_only_another_length_shows_is_named_after_what_the_given_point_shows():
    def cause(name, confidence):
        return type(failing().causes[0])(name=name, evidence="seen", confidence=confidence)

    rows = [
        failing(of="W", facts={"length": 1}, causes=(cause("nan-at-edge", 0.9),)),
        failing(of="W", causes=(cause("scale", 0.5),)),
    ]
    assert report(*rows).causes == ["scale", "nan-at-edge"]


def test_the_first_line_of_a_pass_says_how_many_gradients_and_how_well():
    rows = [finding(), finding(of="b", resolution=3e-9), finding(check="shape", oracle="", resolution=None)]
    assert str(report(*rows)).splitlines()[0] == "pass: 2 gradients right to 3.0e-09 (3 checks judged, 0.03 s)"


def test_a_gradient_that_two_oracles_judged_counts_once_at_its_sharpest():
    rows = [finding(resolution=1e-6), finding(oracle="finite-differences", resolution=1e-10)]
    assert str(report(*rows)).startswith("pass: 1 gradient right to 1.0e-10 ")


def test_a_failure_says_what_where_got_want_budget_cause_and_how_to_repeat_it():
    text = str(report(failing()))
    assert text.splitlines()[:7] == [
        "fail: W wrong, because of transposed (1 check judged, 0.03 s)",
        "",
        "FAIL  gradient[torch-autograd]  net / given",
        "  W: 6 of 9 entries outside the budget",
        "  worst at [0, 2]: got -1.038e+00, want 4.210e-01 ± 3.0e-12, gap 1.5e+00, budget 1.2e-07",
        "  cause: transposed: got equals want transposed",
        "  try: return dout.T @ x",
    ]
    assert "  repeat: gradverify check net.py:net --seed 0" in text


def test_what_a_pass_cannot_see_is_said_once():
    rows = [finding(blind_spots=("batch of one",)), finding(of="b", blind_spots=("batch of one",))]
    assert str(report(*rows)).count("batch of one (W, b)") == 1


def test_nothing_judged_is_said_in_the_first_line():
    assert str(report()).startswith("inconclusive: nothing was judged (0 checks judged")


def test_a_report_without_its_footer_says_incomplete():
    assert "incomplete" in repr(Report(findings=(finding(),)))


@pytest.mark.parametrize(
    "rows", [[failing()], [ERROR, finding()], [], [INCONCLUSIVE, finding(check="shape", oracle="")]]
)
def test_failures_errors_and_nothing_judged_raise(rows):
    with pytest.raises(GradientFailure):
        report(*rows).raise_for_failures()


def test_a_pass_does_not_raise():
    report(finding(), SKIPPED).raise_for_failures()


def test_the_failure_is_an_assertion_error_with_the_failure_text():
    with pytest.raises(AssertionError, match="FAIL  gradient"):
        report(failing()).raise_for_failures()


def test_the_frame_has_a_row_per_finding_and_a_column_per_field():
    frame = report(failing(), finding(of="b")).frame()
    assert list(frame["verdict"]) == ["fail", "pass"]
    assert frame["causes"][0] == ["transposed"]
    assert {"n_compared", "want_error", "facts"} <= set(frame.columns)


def test_the_frame_of_no_findings_has_the_columns():
    assert "verdict" in report().frame().columns


@given(reports)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_saved_reads_back_exactly(tmp_path, made):
    path = made.save(tmp_path / "r.jsonl")
    assert list(jsonl(read(path))) == list(jsonl(made))


def test_reading_back_gives_equal_objects(tmp_path):
    made = report(failing(), finding(of="b", facts={"text": "NaN", "$key": [1, None], "many": {"a": 1.5}}))
    assert read(made.save(tmp_path / "r.jsonl")) == made


def test_numpy_values_become_plain(tmp_path):
    facts = {"array": np.arange(3), "scalar": np.float32(2), "pair": (1, 2), "flag": np.True_, "big": np.zeros(1000)}
    back = read(report(finding(gap=np.float64(1e-3), facts=facts)).save(tmp_path / "r.jsonl")).findings[0]
    wanted = {"array": [0, 1, 2], "scalar": 2.0, "pair": [1, 2], "flag": True, "big": "array (1000,) float64"}
    assert back.facts == wanted
    assert type(back.gap) is float


def test_rows_of_the_same_name_are_numbered_so_that_the_report_reads_back(tmp_path):
    back = read(report(finding(), finding(), finding()).save(tmp_path / "r.jsonl"))
    assert [f.case for f in back.findings] == ["given", "given #2", "given #3"]


def lines_of(*rows):
    return list(jsonl(report(*rows)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        (lines_of(), "is empty: it has no findings"),
        (lines_of(finding())[:-1], "is incomplete: it has no footer"),
        (lines_of(finding())[:1] + lines_of(finding())[-1:], "is empty"),
        ([*lines_of(finding())[:-1], '{"kind": "foo'], "line 3 is cut off"),
        (
            [*lines_of(finding())[:-1], lines_of(finding())[1], *lines_of(finding())[-1:]],
            "counts 1 findings, 2 are here",
        ),
        (
            [lines_of(finding())[0], *[lines_of(finding())[1]] * 2, lines_of(finding(), INCONCLUSIVE)[-1]],
            "has a duplicate",
        ),
        (lines_of(finding())[1:], "does not begin with a header"),
        (["hello"], "line 1 is not JSON"),
        (["[1]"], "line 1 is not an object"),
        (
            [lines_of(finding())[0].replace('"schema_version": 1', '"schema_version": 99'), *lines_of(finding())[1:]],
            "schema 99",
        ),
        (
            [line.replace('"n_compared": 9', '"n_compared": 0') for line in lines_of(finding())],
            "a pass that compared nothing",
        ),
        ([line.replace('"pass", "oracle"', '"fine", "oracle"') for line in lines_of(finding())], "not a finding"),
        ([line.replace('"complete": true', '"complete": false') for line in lines_of(finding())], "is incomplete"),
    ],
)
def test_a_report_that_cannot_be_trusted_is_refused(tmp_path, lines, message):
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ReportError, match=message):
        read(path)


def test_a_report_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="there is no report"):
        read(tmp_path / "none.jsonl")


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match=r"\.csv \(csv\).*\.html \(html\).*\.jsonl \(jsonl\)"):
        report(finding()).save(tmp_path / "r.docx")


@pytest.mark.parametrize("suffix", [".jsonl", ".md", ".csv", ".html", ".tex", ".xml", ".json", ".txt"])
def test_every_suffix_writes_a_file_and_makes_its_folder(tmp_path, suffix):
    path = report(failing()).save(tmp_path / "new" / f"r{suffix}")
    assert "transposed" in path.read_text()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_format_that_breaks_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = report(finding()).save(tmp_path / "r.jsonl")
    before = path.read_text()
    broken = report(finding())
    object.__setattr__(broken, "findings", (finding(), "not a finding"))
    with pytest.raises(AttributeError):
        broken.save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_header_names_versions_and_where_it_ran():
    header = report(finding()).header
    assert header["numpy"] == np.__version__
    assert {"gradverify", "python", "platform", "device", "command", "time", "seed", "level"} <= set(header)


def test_a_notebook_gets_a_fragment_in_its_own_style():
    html = report(failing())._repr_html_()
    assert html.startswith('<div class="gradverify">')
    assert "<html" not in html


@pytest.mark.parametrize(
    ("old", "new", "said", "worse"),
    [
        (finding(), finding(), "", False),
        (finding(), failing(), "pass -> fail", True),
        (failing(), finding(), "fail -> pass", False),
        (finding(), SKIPPED, "gone, was pass", True),
        (finding(resolution=1e-12), finding(resolution=1e-9), "resolution 1.0e-12 -> 1.0e-09", True),
        (finding(resolution=1e-9), finding(resolution=1e-12), "resolution 1.0e-09 -> 1.0e-12", False),
        (finding(resolution=1e-9), finding(resolution=2e-9), "", False),
        (finding(), finding(verdict=Verdict.SKIPPED), "pass -> skipped", True),
    ],
)
def test_comparing_two_reports_shows_what_got_worse(old, new, said, worse):
    comparison = compare(report(old), report(new))
    assert comparison.worse is worse
    assert said in str(comparison)


def test_comparing_runs_of_different_versions_says_so():
    old = Report.of([finding()], numpy="1.0")
    assert f"numpy was 1.0, is {np.__version__}" in str(compare(old, report(finding())))


def test_json_lines_are_strict_json():
    rows = [
        json.loads(line, parse_constant=pytest.fail) for line in lines_of(failing(got=float("nan"), want=float("-inf")))
    ]
    assert (rows[1]["got"], rows[1]["want"]) == ("NaN", "-Infinity")
