"""What every format owes: all findings, no markup of the user's, worst first."""

from __future__ import annotations

import csv as reader
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from gradverify.formats.csv import csv
from gradverify.formats.gradescope import gradescope
from gradverify.formats.html import html
from gradverify.formats.junit import junit
from gradverify.formats.latex import latex
from gradverify.formats.markdown import MOST_BYTES, markdown
from gradverify.formats.terminal import terminal
from gradverify.registry import report_format
from gradverify.types import Verdict
from tests.rows import failing, finding, report, reports

NASTY = "<script>alert(1)</script>"


def text_of(format, made):
    return "\n".join(format(made))


@pytest.mark.parametrize("entry", report_format.entries(), ids=lambda e: e.name)
def test_every_format_has_a_suffix_of_its_own(entry):
    assert [e.name for e in report_format.entries() if e.meta["suffix"] == entry.meta["suffix"]] == [entry.name]


@pytest.mark.parametrize("entry", report_format.entries(), ids=lambda e: e.name)
@given(made=reports)
@settings(max_examples=15, deadline=None)
def test_every_format_prints_every_report(entry, made):
    assert all(isinstance(line, str) for line in entry.item(made))


@pytest.mark.parametrize("entry", report_format.entries(), ids=lambda e: e.name)
def test_every_format_prints_a_report_without_findings(entry):
    assert text_of(entry.item, report())


def test_html_escapes_whatever_the_user_named():
    made = report(failing(adapter=NASTY, case=NASTY, of=NASTY, why=NASTY, repeat=NASTY, notes=(NASTY,)))
    assert "<script" not in text_of(html, made)


def test_html_names_no_address_outside_the_file():
    assert not re.search(r"https?://|src=|href=|url\(|@import", text_of(html, report(failing())))


def test_html_says_the_verdict_in_words_and_is_readable_in_the_dark():
    page = text_of(html, report(failing()))
    assert '<span class="v fail">fail</span>' in page
    assert "color-scheme: light dark" in page
    assert "prefers-color-scheme: dark" in page


def test_html_closes_every_element_it_opens():
    opened: list[str] = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Balance().feed(text_of(html, report(failing(), finding(of="b", blind_spots=("x < y",)))))
    assert opened == []


@given(made=reports)
@settings(max_examples=30, deadline=None)
def test_csv_reads_back_with_a_row_per_finding(made):
    rows = list(reader.DictReader(io.StringIO(text_of(csv, made), newline="")))
    assert [row["verdict"] for row in rows] == [f.verdict.value for f in made.findings]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_csv_disarms_texts_that_a_spreadsheet_would_run(sign):
    (row,) = reader.DictReader(io.StringIO(text_of(csv, report(finding(adapter=f"{sign}cmd()")))))
    assert row["adapter"] == f"'{sign}cmd()"


def test_csv_leaves_negative_numbers_alone():
    (row,) = reader.DictReader(io.StringIO(text_of(csv, report(failing()))))
    assert float(row["got"]) == -1.038


def test_markdown_keeps_pipes_and_markup_in_their_cell():
    made = report(finding(of="a|b", adapter=NASTY, case="two\nlines"))
    row = next(line for line in markdown(made) if line.startswith("| pass"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 12
    assert "<script" not in row
    assert "two lines" in row


def test_markdown_stays_below_what_github_accepts_and_says_what_is_missing():
    made = report(failing(), *(finding(case=str(i)) for i in range(12000)))
    text = text_of(markdown, made)
    assert len(text.encode()) < MOST_BYTES + 10_000
    assert re.search(r"\d+ more rows left out", text)
    assert text.index("transposed") < 1000


def test_latex_escapes_its_special_signs_and_guards_brackets():
    lines = list(latex(report(failing(of="[W_1] 50% & {x}"))))
    assert r"{}[W\_1] 50\% \& \{x\}" in lines[5]
    assert r"$\pm$" in lines[5]


def test_latex_begins_with_the_answer_as_a_comment():
    assert next(iter(latex(report(failing())))).startswith("% fail: ")


@given(made=reports)
@settings(max_examples=30, deadline=None)
def test_junit_is_well_formed_and_counts_right(made):
    suite = ElementTree.fromstring(text_of(junit, made))
    verdicts = [f.verdict for f in made.findings]
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) == verdicts.count(Verdict.FAIL)
    assert int(suite.attrib["errors"]) == len(suite.findall("testcase/error")) == verdicts.count(Verdict.ERROR)


def test_junit_calls_what_was_not_judged_skipped():
    suite = ElementTree.fromstring(text_of(junit, report(finding(verdict=Verdict.INCONCLUSIVE, why="at a kink"))))
    assert suite.find("testcase/skipped").attrib["message"] == "inconclusive: at a kink"


def test_gradescope_gives_a_point_per_judged_check_and_explains_the_rest():
    undecided = finding(verdict=Verdict.INCONCLUSIVE, of="c", why="at a kink")
    result = json.loads(text_of(gradescope, report(failing(), finding(of="b"), undecided)))
    assert [t.get("score") for t in result["tests"]] == [0.0, 1.0, None]
    assert [t.get("status") for t in result["tests"]] == ["failed", "passed", None]
    assert "at a kink" in result["tests"][2]["output"]


def test_gradescope_gives_nothing_where_nothing_was_judged():
    assert json.loads(text_of(gradescope, report()))["score"] == 0.0


def test_gradescope_never_declares_the_students_text_as_html():
    result = json.loads(text_of(gradescope, report(failing(of=NASTY))))
    assert {result["output_format"], *(t["output_format"] for t in result["tests"])} == {"text"}


def test_the_terminal_table_is_cut_worst_rows_first():
    text = text_of(terminal, report(*(finding(case=str(i)) for i in range(100)), failing()))
    assert "... and 41 rows more" in text
    assert text.index("\nfail ") < text.index("\npass ")
