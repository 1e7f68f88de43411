"""What the documentation says is run: its Python, its files, its commands and what they print."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

#: documents with tests of their own, beside what they describe
ELSEWHERE = {"conformance.md", "decisions.md"}


def _paste() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_paste", ROOT / "docs" / "paste.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_paste"] = module
    spec.loader.exec_module(module)
    return module


paste = _paste()
DOCUMENTS = [path for path in paste.documents() if path.name not in ELSEWHERE]


#: they run commands in processes of their own
LONG = ("students.md", "pytest.md", "how-to-add.md")
READ = [
    pytest.param(d, marks=pytest.mark.slow, id=d.name) if d.name in LONG else pytest.param(d, id=d.name)
    for d in DOCUMENTS
]


@pytest.mark.parametrize("document", READ)
def test_a_reader_who_follows_the_document_gets_what_it_says(document, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    paste.folder_of_a_reader(tmp_path)
    before, namespace = set(sys.modules), {"__name__": "reader"}
    try:
        for block in paste.blocks(document.read_text(encoding="utf-8")):
            if block.kind == "file":
                paste.write(block, tmp_path)
            elif block.kind == "paste":
                now = paste.output(block, tmp_path)
                assert paste.comparable(now) == paste.comparable(block.text), f"run: python docs/paste.py {document}"
            elif block.language == "python":
                code = "\n" * (block.line - 1) + block.text  # a traceback names the line of the document
                exec(compile(code, str(document), "exec"), namespace)
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_fenced_block_says_its_language_or_is_pasted(document):
    for block in paste.blocks(document.read_text(encoding="utf-8")):
        assert block.kind == "paste" or block.language, f"{document.name}:{block.line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_of_ours_leads_somewhere(document):
    text = re.sub(r"```.*?^```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in link]
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_quoted_section_is_as_the_report_has_it(document):
    text = document.read_text(encoding="utf-8")
    assert paste.quoted(text) == text, f"run: python docs/paste.py {document}"


def test_a_quoted_section_is_replaced_by_that_of_the_report(tmp_path):
    (tmp_path / "report.md").write_text("# Report\n\n## one\n\n| 1 |\n\n## two\n\n| 2 |\n")
    document = "before\n<!-- section: report.md one -->\nold\n<!-- end -->\nafter\n"
    assert paste.quoted(document, tmp_path) == (
        "before\n<!-- section: report.md one -->\n\n| 1 |\n\n<!-- end -->\nafter\n"
    )


def test_what_stands_before_the_first_section_is_quoted_without_a_title(tmp_path):
    (tmp_path / "report.md").write_text("# Report\n\nall seen\n\n## one\n\n| 1 |\n")
    now = paste.quoted("<!-- section: report.md -->\n<!-- end -->\n", tmp_path)
    assert now == "<!-- section: report.md -->\n\nall seen\n\n<!-- end -->\n"


def test_a_section_that_the_report_does_not_have_is_an_error(tmp_path):
    (tmp_path / "report.md").write_text("# Report\n")
    with pytest.raises(SystemExit, match="no section 'one'"):
        paste.quoted("<!-- section: report.md one -->\n<!-- end -->\n", tmp_path)


def test_a_quoted_table_may_be_narrowed_to_some_columns_and_the_rows_that_have_them(tmp_path):
    (tmp_path / "r.md").write_text("# R\n\n## t\n\n| a | b | c |\n| --- | --- | --- |\n| x | 1 | 2 |\n| y | 3 |  |\n")
    now = paste.quoted("<!-- section: r.md t | a, c -->\n<!-- end -->\n", tmp_path)
    assert now.splitlines()[2:-2] == ["| a | c |", "| --- | --- |", "| x | 2 |"]


def test_a_column_that_the_table_does_not_have_is_an_error(tmp_path):
    (tmp_path / "r.md").write_text("# R\n\n## t\n\n| a | b |\n| --- | --- |\n| x | 1 |\n")
    with pytest.raises(SystemExit, match="no column 'c'; there are a, b"):
        paste.quoted("<!-- section: r.md t | a, c -->\n<!-- end -->\n", tmp_path)


def test_seconds_and_rounding_are_no_difference():
    assert paste.comparable("ok ± 2.5e-14 (12 checks, 0.31 s)") == paste.comparable("ok ± 1.1e-13  (12 checks, 4.00 s)")


def test_a_value_is_a_difference():
    assert paste.comparable("got 1.500e+00") != paste.comparable("got 1.600e+00")
    assert paste.comparable("got 1.500e-03") != paste.comparable("got 1.500e-04")


def test_a_pasted_block_that_is_out_of_date_is_replaced():
    document = "before\n\n<!-- paste -->\n```text\n$ echo new\nold\n```\n\nafter\n"
    assert paste.pasted(document) == document.replace("\nold\n", "\nnew\n")


def test_a_pasted_block_that_differs_in_seconds_only_is_kept():
    document = "<!-- paste -->\n```text\n$ echo '3 checks, 1.25 s'\n3 checks, 9.75 s\n```\n"
    assert paste.pasted(document) == document


def test_a_file_of_the_document_is_there_when_a_command_runs():
    document = "<!-- file: a.txt -->\n```text\nhello\n```\n\n<!-- paste -->\n```text\n$ cat a.txt\n```\n"
    assert paste.pasted(document).endswith("$ cat a.txt\nhello\n```\n")
