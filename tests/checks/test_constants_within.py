"""Arrays within constants: what backward changes and the forward notices is a fail, a workspace is none."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(5)
X = RNG.standard_normal((5, 4))


def report(forward, backward, **constants):
    return gv.verify((forward, backward), {"x": X}, constants=constants)


@pytest.mark.parametrize("within", [lambda m: {"mask": m}, lambda m: {"layer": [{"mask": m}, 1]}])
def test_a_mask_within_a_dictionary_that_backward_scales_is_named(within):
    mask = RNG.uniform(0.5, 2, X.shape)

    def of(conf):
        return conf["mask"] if "mask" in conf else conf["layer"][0]["mask"]

    def backward(u, conf):
        d = u * of(conf)
        of(conf)[...] *= 2
        return d

    found = report(lambda x, conf: (x * of(conf), conf), backward, conf=within(mask.copy()))
    assert found.verdict == "fail"
    assert found.causes[0] == "primal-mutated"


def test_a_workspace_within_a_dictionary_may_be_written_to():
    def backward(u, cache):
        x, ws = cache
        np.cos(x, out=ws["tmp"])
        return u * ws["tmp"]

    assert report(lambda x, ws: (np.sin(x), (x, ws)), backward, ws={"tmp": np.zeros(X.shape)}).verdict == "pass"


def test_running_statistics_within_a_dictionary_may_be_updated_by_forward():
    def forward(x, p):
        p["mean"] *= 0.9
        p["mean"] += 0.1 * x.mean(axis=0)
        return x - x.mean(axis=0), None

    assert report(forward, lambda u, c: u - u.mean(axis=0), p={"mean": np.zeros(4)}).verdict == "pass"


def dropped(x, rng):
    mask = (rng.random(x.shape) > 0.4) / 0.6
    return x * mask, mask


def test_a_generator_among_the_constants_draws_the_same_numbers_in_every_forward():
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    assert report(dropped, lambda u, mask: u * mask, rng=rng).verdict == "pass"
    assert rng.bit_generator.state == before


def test_a_mask_drawn_again_by_backward_from_a_generator_among_the_constants_fails():
    def again(u, rng):
        return u * (rng.random(u.shape) > 0.4) / 0.6

    assert report(lambda x, rng: dropped(x, rng)[0], again, rng=np.random.default_rng(1)).verdict == "fail"


def test_labels_that_the_forward_shifts_in_place_are_named_and_nothing_else():
    labels = np.array([1, 3, 2, 4, 1])

    def cross_entropy(x, y):
        y -= 1
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        d = (p - np.eye(4)[y]) / len(y)
        return -np.log(p[np.arange(len(y)), y]).mean(), d

    found = gv.verify(cross_entropy, {"x": X}, constants={"y": labels})
    assert found.causes == ["primal-mutated"]
    assert {f.check for f in found.findings if f.verdict == "fail"} == {"primals-unchanged"}
    assert labels.tolist() == [1, 3, 2, 4, 1]


def test_a_number_within_a_dictionary_that_backward_changes_and_the_forward_reads_is_named():
    def backward(u, cfg):
        cfg["scale"] *= 2
        return u * cfg["scale"] / 2

    found = report(lambda x, cfg: x * cfg["scale"], backward, cfg={"scale": 3.0})
    assert found.verdict == "fail"
    assert found.causes[0] == "primal-mutated"
