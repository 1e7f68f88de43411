"""``gradverify cost``: what forward, backward and differences cost, measured and counted, as a network grows.

Derivation, section 'Computational Complexity of Backpropagation'. Without a file: ``reference_impl``'s network in
width, depth and batch, differences, and checkpointing. With ``FILE[:NAME]``: whether a user's backward costs much more
than it should as the batch grows, with the line that does it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradverify import options
from gradverify.studies import _cost_reference as reference
from gradverify.studies import _cost_user as user
from gradverify.studies import _tables
from gradverify.studies._meter import Meter, exponent, one_thread
from gradverify.studies._progress import watched
from gradverify.studies._subjects import drawn, subjects_of

GROWN = {
    "axis": "axis", "width": "width", "depth": "depth", "batch": "batch", "parameters": "parameters",
    "forward_ops": "forward, multiplications", "forward_s": "forward s", "backward_s": "backward s",
    "backward_over_forward": "backward / forward", "held_bytes": "bytes held", "held_over_stored": "held / text",
    "differences_s": "differences s", "differences_over_backward": "differences / passes",
}  # fmt: skip
FITTED = {"axis": "axis", "ops": "counted", "forward": "forward s", "backward": "backward s", "held": "bytes held",
          "differences": "differences s", "differences_counted": "differences counted"}  # fmt: skip
RUN = {"width": "width", "parameters": "parameters", "forwards": "forwards", "differences_s": "differences s",
       "forward_and_backward_s": "forward and backward s", "times": "times as long"}  # fmt: skip
CHECKPOINTS = {"depth": "depth", "checkpoint_every": "a checkpoint every", "peak_numbers": "numbers held at most",
               "of_all": "of all", "layers_computed": "layers computed", "same_bits": "same bits"}  # fmt: skip
YOURS = {"subject": "subject", "batch": "batch", "forward_s": "forward s", "backward_s": "backward s",
         "forward_lines": "lines run forward", "backward_lines": "lines run backward",
         "forward_bytes": "bytes forward", "backward_bytes": "bytes backward"}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose implementation, and where the table goes."""
    parser.add_argument(
        "paths", nargs="*", metavar="FILE[:NAME]", help="your subjects; default: the reference's network"
    )
    parser.add_argument("--batch", type=_names, metavar="X,y", help="arrays of your subject whose rows are the samples")
    parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="the address of all randomness")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(args: argparse.Namespace, meter: Meter | None = None) -> int:
    """Write cost.csv and cost.md; status 1 when a user's implementation costs more than it should."""
    out = _tables.folder(args.out)
    words = ["gradverify", "cost", *args.paths, *(["--batch", ",".join(args.batch)] if args.batch else [])]
    command = shlex.join([*words, "--seed", str(args.seed)])
    with one_thread() as threads:
        head = _tables.header(command, args.seed, threads=threads)
        if args.paths:
            rows, said = yours(args.paths, args.batch or (), args.seed, meter or Meter())
            text = list(_yours_text(rows, said))
        else:
            rows = grown(meter or Meter(), args.seed)
            text = list(_reference_text(rows, meter or Meter(), args.seed))
            said = {}
    _tables.write_csv(out / "cost.csv", [{k: v for k, v in r.items() if k != "hot"} for r in rows], head)
    _tables.write_markdown(out / "cost.md", text, head)
    shown = [line for line in text if line and not line.startswith("# ")]
    sys.stdout.writelines(f"{line}\n" for line in shown)
    sys.stdout.write(f"report: {out / 'cost.md'} (and .csv)\n")
    return int(any(said.values()))


def grown(
    meter: Meter, seed: int = 0, growth: Mapping[str, Sequence[tuple[int, int, int]]] | None = None
) -> list[dict[str, Any]]:
    """A row per size of the reference's network along each axis."""
    sizes = [(axis, *size) for axis, found in (growth or reference.GROWTH).items() for size in found]
    return [reference.measured(*s, meter, seed) for s in watched(sizes, lambda s: f"{s[0]} {s[1:]}")]


def exponents(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The p of cost = c size^p along each axis, of the counts of the text and of what was measured."""
    found = []
    for axis in dict.fromkeys(r["axis"] for r in rows):
        line = [r for r in rows if r["axis"] == axis]
        sizes = [r[axis] for r in line]

        def of(key: str, line: Any = line, sizes: Any = sizes) -> float:
            return exponent(sizes, [r[key] for r in line])

        counted = exponent(sizes, [r["forward_ops"] * r["differences_forwards"] for r in line])
        found.append({
            "axis": axis, "ops": of("forward_ops"), "forward": of("forward_s"), "backward": of("backward_s"),
            "held": of("held_bytes"), "differences": of("differences_s"), "differences_counted": counted,
        })  # fmt: skip
    return found


def yours(
    paths: Sequence[str], batch: Sequence[str], seed: int, meter: Meter
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """(a row per subject and batch size, subject -> sentences about what costs too much).

    Raises UsageError and AdapterError as ``gradverify check`` does.
    """
    rows: list[dict[str, Any]] = []
    said: dict[str, list[str]] = {}
    for subject in watched(subjects_of(paths), lambda s: s.name):
        adapter, case = drawn(subject, seed)
        found = user.measured(adapter, case, user.batch_of(adapter, case, batch), meter)
        _, said[subject.name] = user.verdicts(found, user.joined(adapter))
        rows += [{**r, "joined": user.joined(adapter)} for r in found]
    return rows, said


def _yours_text(rows: Sequence[Mapping[str, Any]], said: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "# What your gradients cost"
    yield ""
    for name, sentences in said.items():
        line = [r for r in rows if r["subject"] == name]
        if not sentences:
            yield f"- {name}: as it should be: {_healthy(line)}"
        yield from (f"- **{name}** {sentence}" for sentence in sentences)
    yield ""
    yield from _tables.markdown_table(rows, YOURS)


def _healthy(line: Sequence[Mapping[str, Any]]) -> str:
    last, sizes = line[-1], [r["batch"] for r in line]
    part = "forward_s" if last["joined"] else "backward_s"
    p = exponent(sizes[-2:], [r[part] for r in line][-2:])
    ratio = f"backward is {last['backward_s'] / last['forward_s']:.1f} forwards"
    took = f"loss and gradients together take {last['forward_s']:.1e} s" if last["joined"] else ratio
    return f"{took} at batch {sizes[-1]}, growing like batch^{p:.2f}"


def _reference_text(rows: Sequence[Mapping[str, Any]], meter: Meter, seed: int) -> Iterator[str]:
    ratios = [r["backward_over_forward"] for r in rows if r["forward_s"] > user.SHORTEST]
    yield "# What backpropagation costs"
    yield ""
    if ratios:
        held = [r["held_over_stored"] for r in rows]
        yield f"**A backward is {min(ratios):.1f} to {max(ratios):.1f} forwards (the text: about 2); the forward holds"
        yield f"{min(held):.2f} to {max(held):.2f} times the numbers that the text counts (z and a of every layer).**"
        yield ""
    yield from _tables.markdown_table(rows, GROWN)
    yield ""
    yield "## Exponents"
    yield ""
    yield "The p in cost = c size^p along each axis: of the text's count of multiplications, and of what was measured."
    yield "Small networks are dominated by overhead that does not grow, which makes measured exponents smaller."
    yield ""
    yield from _tables.markdown_table(exponents(rows), FITTED)
    yield ""
    yield "## Differences, really run"
    yield ""
    yield from _tables.markdown_table(list(reference.differences(meter, seed)), RUN)
    yield ""
    yield "## Checkpoints"
    yield ""
    yield from _tables.markdown_table(list(reference.checkpointing(seed)), CHECKPOINTS)
