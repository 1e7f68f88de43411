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
