"""``gradverify report``: the digits are those of the gradient, the verdict is that of ``gv.verify``."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import gradverify as gv
from gradverify.comparison import compare
from gradverify.errors import UsageError
from gradverify.studies._digits import EPS, TINY, columns, digits, error, promised
from gradverify.studies.accuracy import table

FEW = ["relu", "affine", "softmax_cross_entropy"]


def of(got, want, dtype="float64"):
    return error("g", np.asarray(got, float), np.asarray(want, float), TINY[dtype])


def test_an_error_of_a_thousandth_leaves_three_digits():
    e = of([1.0, 2.002], [1.0, 2.0])
    assert columns([e], "float64", 16)["digits"] == pytest.approx(3, abs=0.01)
    assert columns([e], "float64", 16)["ulps"] == pytest.approx(1e-3 / EPS["float64"], rel=1e-6)


def test_the_error_is_relative_to_the_largest_entry_and_the_entrywise_one_to_its_own():
    e = of([1.0, 1.5e-6], [1.0, 1e-6])
    assert e.relative == pytest.approx(5e-7)
    assert e.entrywise == pytest.approx(0.5)
    assert e.index == (1,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_digits(bad):
    assert columns([of([1.0, bad], [1.0, 2.0])], "float32", 16)["digits"] == 0


def test_underflow_loses_no_digits():
    assert columns([of([0.0], [1e-60], "float32")], "float32", 16)["digits"] > promised(EPS["float32"])


def test_no_error_shows_the_digits_of_the_dtype_and_no_more():
    assert digits(0.0, EPS["float32"]) == pytest.approx(-np.log10(EPS["float32"] / 2))


def test_fewer_digits_than_promised_are_flagged():
    flagged = [columns([of([1 + k * EPS["float64"]], [1.0])], "float64", 16)["flagged"] for k in (15, 17)]
    assert flagged == [False, True]


def test_the_reference_passes_with_the_digits_it_promises():
    rows = table(adapters=["reference"], ops=FEW, dtypes=["float64", "float32"])
    assert [(r["op"], r["dtype"]) for r in rows] == [(op, d) for op in FEW for d in ("float64", "float32")]
    assert {(r["verdict"], r["flagged"]) for r in rows} == {("pass", False)}


def test_torch_has_a_row_in_bfloat16_too():
    pytest.importorskip("torch")
    rows = table(adapters=["torch"], ops=["tanh"])
    assert [r["dtype"] for r in rows] == ["float64", "float32", "bfloat16"]
    assert rows[0]["digits"] > rows[1]["digits"] > rows[2]["digits"]


def test_every_op_of_the_catalogue_has_a_twin_in_torch():
    pytest.importorskip("torch")
    from gradverify.cases import ops
    from gradverify.studies._torch_twins import twins

    assert set(ops()) == set(twins())


def test_the_same_seed_makes_the_same_numbers():
    def numbers(seed):
        rows = table(adapters=["reference"], ops=["affine"], dtypes=["float32"], seed=seed)
        return [{k: v for k, v in r.items() if k != "seconds"} for r in rows]

    assert numbers(3) == numbers(3)


def test_a_users_wrong_gradient_fails_and_a_right_one_passes(network):
    rows = {r["op"]: r for r in table([str(network)], dtypes=["float64"])}
    assert rows["net:right"]["verdict"] == "pass"
    assert rows["net:wrong"]["verdict"] == "fail"
    assert "outside the budget" in rows["net:wrong"]["why"]


def test_a_users_right_gradient_keeps_its_digits_in_float32(network):
    [row] = table([f"{network}:right"], dtypes=["float32"])
    assert row["digits"] > row["promised_digits"]


def test_the_command_writes_three_files_that_say_how_they_were_made(run, here):
    status, out, _ = run("report", "--ops", "relu,mse", "--adapters", "reference", "--seed", "5")
    command = "gradverify report --ops relu,mse --adapters reference --seed 5"
    assert status == 0
    assert out.startswith("4 of 4 gradients pass")
    assert sorted(p.name for p in (here / "reports").iterdir()) == ["accuracy.csv", "accuracy.jsonl", "accuracy.md"]
    for name in ("accuracy.md", "accuracy.csv"):
        text = (here / "reports" / name).read_text()
        assert command in text
        assert f"numpy: {np.__version__}" in text
    assert gv.read(here / "reports" / "accuracy.jsonl").header["command"] == command


def test_the_csv_has_a_row_per_adapter_op_and_dtype(run, here):
    run("report", "--ops", "relu", "--adapters", "reference", "--out", "there")
    lines = [s for s in (here / "there" / "accuracy.csv").read_text().splitlines() if not s.startswith("#")]
    assert [(r["adapter"], r["op"], r["dtype"], r["verdict"]) for r in csv.DictReader(lines)] == [
        ("reference", "relu", "float64", "pass"),
        ("reference", "relu", "float32", "pass"),
    ]


def test_two_reports_of_one_seed_compare_as_the_same(run, here):
    for folder in ("a", "b"):
        run("report", "--ops", "tanh", "--adapters", "reference", "--out", folder)
    changes = compare(gv.read("a/accuracy.jsonl"), gv.read("b/accuracy.jsonl"))
    assert changes.changes == ()


def test_a_wrong_gradient_is_exit_status_1_and_is_named_in_the_table(run, network):
    status, out, _ = run("report", network, "--dtypes", "float64")
    assert status == 1
    assert "fail: halved" not in out
    assert "net:wrong: gradient of" in out or "wrong: gradient of" in out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--ops", "rellu"], "no op is called 'rellu'; did you mean 'relu'?"),
        (["--adapters", "touch"], "no adapter is called 'touch'; did you mean 'torch'?"),
        (["--dtypes", "float23"], "no dtype is called 'float23'; did you mean 'float32'?"),
        (["--device", "no such"], "a device is cpu, cuda or cuda:N"),
        (["missing.py"], "there is no file 'missing.py'"),
        (["--adapters", "reference", "--dtypes", "bfloat16", "--ops", "relu"], "nothing to measure"),
    ],
)
def test_bad_input_is_exit_status_2_with_one_clear_line(run, argv, said):
    status, _, err = run("report", *argv)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_runs(run, here):
    (here / "reports").write_text("mine")
    status, _, err = run("report", "--ops", "relu")
    assert status == 2
    assert "is a file; name a folder" in err
    assert (here / "reports").read_text() == "mine"


def test_an_unknown_subject_names_the_nearest(run, network):
    status, _, err = run("report", f"{network}:rigth")
    assert status == 2
    assert "no subject called 'rigth'; did you mean 'right'?" in err


def test_ops_and_files_cannot_be_asked_for_together(network):
    with pytest.raises(UsageError, match="choose from the catalogue"):
        table([str(network)], ops=["relu"])


def test_cuda_without_a_device_says_so():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UsageError, match="sees no CUDA device here"):
        table(ops=["relu"], device="cuda")


@pytest.mark.cuda
def test_torch_on_cuda_has_its_rows():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    rows = table(ops=["relu", "affine"], device="cuda")
    assert {(r["adapter"], r["device"], r["verdict"]) for r in rows} == {("torch", "cuda", "pass")}
