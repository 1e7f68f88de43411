"""Judge the whole corpus and write the score: ``python -m tests.corpus [NAME ...] [--out reports/corpus.md]``.

A NAME is the beginning of an item's name ("kinks", "layers.rnn~carry"). Every item runs in this process with a guard
for exceptions and time, one after another.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.corpus import Item, load

PER_ITEM_S = 60


@dataclass(frozen=True)
class Outcome:
    """What the tool said of one item, and what is wrong with that ("" if nothing)."""

    item: Item
    verdict: str
    causes: tuple[str, ...]
    wrong: str
    seconds: float
    text: str

    @property
    def cause(self) -> str:
        """right, wrong or none: the first cause named; "-" where it does not matter."""
        if self.verdict != "fail" or not self.item.causes:
            return "-"
        return "none" if not self.causes else "right" if self.causes[0] in self.item.causes else "wrong"


def _late(*_):
    raise TimeoutError(f"more than {PER_ITEM_S} s")


def on_torch(item: Item) -> bool:
    """Whether the subject of an item is torch's, and so can be judged on another device."""
    from tests.corpus._drive import is_torch

    try:
        return is_torch(item.make()[0])
    except ImportError:
        return False


def judge(item: Item, level: str | None = None, device: str | None = None) -> Outcome:
    """Run one item through the public door."""
    import gradverify as gv

    start = time.perf_counter()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(PER_ITEM_S)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            subject, primals, kwargs = item.make()
            more = {k: v for k, v in {"level": level, "device": device}.items() if v}
            report = gv.verify(subject, primals, **{**kwargs, **more})
            verdict, causes, text = str(report.verdict), tuple(map(str, report.causes)), str(report)
        wrong = item.judge(verdict, text)
    except Exception:  # noqa: BLE001 - an exception of the tool is an outcome
        verdict, causes, text, wrong = "exception", (), traceback.format_exc(), "error"
        if "error" in item.expect:
            wrong = ""
    finally:
        signal.alarm(0)
    return Outcome(item, verdict, causes, wrong, time.perf_counter() - start, text)


def judge_apart(item: Item, level: str | None = None) -> Outcome:
    """The same in a forked process of its own: nothing that another item left behind can matter, nor a crash."""
    import multiprocessing

    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        o = judge(item, level)
        there.send((o.verdict, o.causes, o.wrong, o.seconds, o.text))
        there.close()
        os._exit(0)
    there.close()
    try:
        verdict, causes, wrong, seconds, text = here.recv()
    except EOFError:
        verdict, causes, wrong, seconds, text = "exception", (), "error", 0.0, "the process died"
    os.waitpid(pid, 0)
    return Outcome(item, verdict, causes, wrong, seconds, text)


def table(outcomes: list[Outcome], command: str) -> str:
    """The score by family, then every disagreement, then the slowest items, as Markdown."""
    import gradverify

    kinds = ("false alarm", "miss", "evasion", "silent", "error")
    lines = [
        "# The corpus: right-but-hard implementations and their wrong twins",
        "",
        f"`{command}`; gradverify {getattr(gradverify, '__version__', '?')}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {platform.machine()}, seed 0.",
        "",
        "false alarm: a right one fails; miss: a wrong one passes; evasion: inconclusive where an answer is due; "
        "silent: the verdict is right and the report does not say why; error: the tool raised or said error. "
        "cause: the first cause named for a wrong one, where the corpus knows it.",
        "",
        "| family | right | wrong | " + " | ".join(kinds) + " | cause right | cause wrong | no cause | seconds |",
        "| --- |" + " ---: |" * (2 + len(kinds) + 4),
    ]
    families = list(dict.fromkeys(o.item.family for o in outcomes))
    for family in [*families, "all"]:
        rows = [o for o in outcomes if family in ("all", o.item.family)]
        bad, cause = Counter(o.wrong for o in rows), Counter(o.cause for o in rows)
        twins = sum(bool(o.item.twin) for o in rows)
        cells = [family, len(rows) - twins, twins, *(bad[k] for k in kinds)]
        cells += [cause["right"], cause["wrong"], cause["none"], f"{sum(o.seconds for o in rows):.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for kind in kinds:
        rows = [o for o in outcomes if o.wrong == kind]
        if rows:
            lines += ["", f"## {kind} ({len(rows)})", ""]
            lines += [
                f"- `{o.item.name}` said {o.verdict}, expected {' or '.join(o.item.expect)}: {o.item.why}" for o in rows
            ]
    rows = [o for o in outcomes if o.cause == "wrong"]
    if rows:
        lines += ["", f"## wrong first cause ({len(rows)})", ""]
        lines += [
            f"- `{o.item.name}` said {', '.join(o.causes)}; expected {', '.join(sorted(o.item.causes))}" for o in rows
        ]
    slow = sorted(outcomes, key=lambda o: -o.seconds)[:10]
    lines += ["", "## slowest", "", *(f"- `{o.item.name}` {o.seconds:.1f} s" for o in slow)]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 if nothing disagrees, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of item names; default: all")
    parser.add_argument("--out", type=Path, help="file to write (default reports/corpus.md when all items run)")
    parser.add_argument("--level", help="quick, standard or thorough")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the report of every disagreement")
    parser.add_argument("--apart", action="store_true", help="a forked process for every item")
    args = parser.parse_args(argv)
    if args.apart:
        import gradverify as gv

        gv.verify(
            (lambda x: (x * 1.0, None), lambda g, _: g), {"x": np.ones(2)}
        )  # everything is imported before the fork
    items = [i for n, i in load().items() if not args.names or any(n.startswith(p) for p in args.names)]
    outcomes = []
    for item in items:
        outcome = (judge_apart if args.apart else judge)(item, args.level)
        outcomes.append(outcome)
        if outcome.wrong:
            print(f"{outcome.wrong:12} {item.name} said {outcome.verdict} {', '.join(outcome.causes)}", flush=True)  # noqa: T201 - a script
            if args.verbose:
                print(outcome.text, flush=True)  # noqa: T201 - a script
    text = table(outcomes, "python -m tests.corpus " + " ".join(args.names))
    out = args.out or (None if args.names else Path("reports/corpus.md"))
    if out:
        out.parent.mkdir(exist_ok=True)
        out.write_text(text)
    print(text)  # noqa: T201 - a script
    return int(any(o.wrong for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
