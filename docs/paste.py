"""Keeps the pasted output in the documentation true: runs the commands, replaces the blocks.

    python docs/paste.py             rewrites README.md and docs/*.md
    python docs/paste.py FILE ...    only these

A comment on the line before a fenced block says what the block is:

    <!-- file: NAME -->   its text is written to NAME in a temporary folder
    <!-- paste -->        its first line is ``$ COMMAND``; the rest is what the command prints there

Between ``<!-- section: PATH TITLE -->`` and ``<!-- end -->`` stands what ``## TITLE`` holds in a file of ours, such as
a table of ``reports/`` (without a TITLE: what stands before the first): numbers are quoted, not typed. After
``TITLE |`` may follow the columns to keep, separated by commas; rows with nothing but a first cell are then left out.

The temporary folder also holds ``examples``, and ``gradverify`` and ``python`` are those of this interpreter.
Seconds, the number of checks, and numbers below 1e-9, which are rounding, do not count as a difference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>file|paste)(?:: (?P<name>[^\n]*?))? -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

SECTION = re.compile(
    r"^<!-- section: (?P<path>\S+)(?: (?P<title>[^\n|]*?))?(?: \| (?P<columns>[^\n]*?))? -->\n"
    r"(?P<text>.*?)^<!-- end -->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block with what the comment before it says."""

    kind: str  #: "file", "paste" or ""
    name: str
    language: str
    text: str
    start: int  #: of the text in the document
    line: int


def documents() -> list[Path]:
    """Every document whose blocks are kept."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(document: str) -> Iterator[Block]:
    """The fenced blocks of a document, in its order."""
    for found in BLOCK.finditer(document):
        yield Block(
            kind=found["kind"] or "",
            name=found["name"] or "",
            language=found["language"],
            text=found["text"],
            start=found.start("text"),
            line=document.count("\n", 0, found.start("text")) + 1,
        )


def folder_of_a_reader(folder: Path) -> None:
    """What a reader has in front of him: the examples."""
    (folder / "examples").symlink_to(ROOT / "examples")


def write(block: Block, folder: Path) -> None:
    """The file that the reader is told to write."""
    path = folder / block.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def output(block: Block, folder: Path) -> str:
    """The block as the command prints it now: the command, then its output; trailing blank lines are dropped."""
    command = block.text.splitlines()[0].removeprefix("$ ")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(  # the commands are those of our own documents
        command, shell=True, cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    said = "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")
    if not said:
        raise SystemExit(f"{command!r} printed nothing; exit status {done.returncode}\n{done.stderr}")
    return f"$ {command}\n{said}\n"


def comparable(text: str) -> str:
    """``text`` without what may differ from run to run, from machine to machine, or with a new check."""
    text = re.sub(r"\b\d+\.\d+ ?s\b", "T s", text)
    text = re.sub(r"-?\b\d\.\d+e-(09|[1-9]\d)\b", "tiny", text)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r"\b\d+ checks? judged( in \d+ tests?: .*)?", "N checks judged", text)
    return re.sub(r"^((?:pass|fail) \S+::\S+) \d+", r"\1 N", text, flags=re.MULTILINE)


def narrowed(table: str, columns: list[str]) -> str:
    """The Markdown ``table`` with these columns only. Raises SystemExit for one that it does not have."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    if missing := [c for c in columns if c not in rows[0]]:
        raise SystemExit(f"no column {missing[0]!r}; there are {', '.join(rows[0])}")
    kept = [[row[rows[0].index(c)] for c in columns] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in kept if any(row[1:]))


def quoted(document: str, root: Path = ROOT) -> str:
    """``document`` with every quoted section as the file has it now. Raises SystemExit for one that is not there."""

    def section(found: re.Match[str]) -> str:
        text = (root / found["path"]).read_text(encoding="utf-8")
        heading = rf"## {re.escape(found['title'])}" if found["title"] else "# [^\n]*"
        there = re.search(rf"^{heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        if there is None:
            raise SystemExit(f"{found['path']} has no section {found['title']!r}")
        body = there[1].strip()
        if found["columns"]:
            body = narrowed(body, found["columns"].split(", "))
        return f"{found[0].splitlines()[0]}\n\n{body}\n\n<!-- end -->"

    return SECTION.sub(section, document)


def pasted(document: str) -> str:
    """``document`` with every pasted block as it is now, save where only the incomparable has changed."""
    changes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder_of_a_reader(folder)
        for block in blocks(document):
            if block.kind == "file":
                write(block, folder)
            elif block.kind == "paste":
                now = output(block, folder)
                if comparable(now) != comparable(block.text):
                    changes.append((block, now))
    for block, now in reversed(changes):
        document = document[: block.start] + now + document[block.start + len(block.text) :]
    return document


def main(names: list[str]) -> None:
    """Rewrite the documents whose pasted blocks are not what the commands print now."""
    for path in [Path(name) for name in names] or documents():
        before = path.read_text(encoding="utf-8")
        after = pasted(quoted(before))
        if after != before:
            path.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{path}: rewritten\n")


if __name__ == "__main__":
    main(sys.argv[1:])
