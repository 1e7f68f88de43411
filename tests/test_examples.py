"""The examples are a promise: what is called right passes, what is called wrong fails with the cause that it plants."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gradverify as gv
from gradverify.cli import main
from gradverify.subjects import Subject, SubjectFile, find_files

pytest.importorskip("torch")
pytest.importorskip("sklearn")

EXAMPLES = Path(__file__).parents[1] / "examples"

PLANTED = {
    "wrong_affine_averaged_twice": ("double-batch-mean", {"w", "b"}),
    "wrong_relu_mask_of_dout": ("wrong-mask", {"x"}),
    "wrong_softmax_loss_not_averaged": ("missing-batch-mean", {"x"}),
    "wrong_dropout_unscaled": ("scale", {"x"}),
    "wrong_linear_updates_first": ("updated-weights", {"x"}),
    "wrong_logistic_forgets_decay": ("missing-term", {"w"}),
    "wrong_layer_prime_of_activation": ("derivative-of-activation-not-preactivation", {"x", "W", "b"}),
    "wrong_straight_through_unclipped": ("missing-activation-derivative", {"x"}),
    "wrong_rmsnorm_constant_scale": ("missing-term", {"x", "linear.weight", "linear.bias"}),
    "wrong_swish_one_term": ("missing-term", {"x"}),
    "wrong_network_without_tanh_derivative": ("missing-activation-derivative", {"W1", "b1"}),
}


def subjects() -> list[Subject]:
    return [s for file in find_files(EXAMPLES) for s in SubjectFile(file).load()]


@functools.cache
def verified(name: str) -> gv.Report:
    (subject,) = [s for s in subjects() if s.name == name]
    assert subject.source is not None
    with subject.source.importable():
        implementation, primals, constants = subject.draw(0)
        return gv.verify(implementation, primals, constants=constants, **subject.keywords)


NAMES = [s.name for s in subjects()]


def test_every_example_says_by_its_name_whether_it_is_right():
    assert all(re.match(r"right_|wrong_", name) for name in NAMES)
    assert {name for name in NAMES if name.startswith("wrong_")} == set(PLANTED)


@pytest.mark.parametrize("file", find_files(EXAMPLES), ids=lambda file: file.stem)
def test_every_example_shows_a_right_and_a_wrong_implementation(file):
    said = {s.name.split("_")[0] for s in SubjectFile(file).load()}
    assert said == {"right", "wrong"}


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("right_")])
def test_a_right_example_passes_to_a_stated_resolution(name):
    report = verified(name)
    assert report.verdict == "pass", str(report)
    judged = [f for f in report.findings if f.oracle and f.verdict == "pass"]
    assert judged
    assert all(f.resolution is not None and f.resolution < 1e-9 for f in judged)


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_example_fails_in_the_parameters_that_are_wrong(name):
    report = verified(name)
    wrong = {f.facts["primal"] for f in report.findings if f.verdict == "fail" and f.check == "pullback-matches-oracle"}
    assert wrong == PLANTED[name][1], str(report)


@pytest.mark.parametrize("name", PLANTED)
def test_a_wrong_example_fails_with_the_cause_that_was_planted(name):
    value = [f for f in verified(name).findings if f.verdict == "fail" and f.check == "pullback-matches-oracle"]
    assert PLANTED[name][0] in {c.name for f in value for c in f.causes[:1]}, [c for f in value for c in f.causes]


@pytest.mark.parametrize("name", PLANTED)
def test_a_failure_names_the_entry_both_values_and_the_error_of_the_oracle(name):
    value = [f for f in verified(name).findings if f.verdict == "fail" and f.check == "pullback-matches-oracle"]
    for f in value:
        assert f.index is not None
        assert None not in (f.got, f.want, f.want_error, f.gap)
        assert f.gap > f.want_error + f.budget


def test_the_command_of_the_readme_prints_a_row_per_example_and_exits_with_1(capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    assert main(["check", "examples/"]) == 1
    out = capsys.readouterr().out
    for name in NAMES:
        verdict = "pass" if name.startswith("right_") else "fail"
        assert re.search(rf"^{verdict} +examples/\w+\.py:{name} ", out, re.MULTILINE), name
    assert f"{len(NAMES)} subjects: {len(NAMES) - len(PLANTED)} pass, {len(PLANTED)} fail" in out


def test_the_command_under_a_failing_row_repeats_that_row(capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    subject = "examples/cs231n_layers.py:wrong_affine_averaged_twice"
    main(["check", subject])
    first = capsys.readouterr().out.splitlines()
    command = next(line.split("repeat: gradverify ")[1] for line in first if "repeat:" in line)
    assert main(command.split()) == 1
    again = capsys.readouterr().out.splitlines()
    assert again[1] == first[1]


def test_the_loss_of_the_digits_falls_with_the_right_and_with_the_wrong_gradient():
    out = subprocess.check_output([sys.executable, str(EXAMPLES / "two_layer_digits.py")], text=True)
    for line in out.splitlines():
        before, *_, after = map(float, re.findall(r"\d+\.\d+", line))
        assert after < before / 20
