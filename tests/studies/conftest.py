"""Files with subjects as a user would write them, and the command line."""

from __future__ import annotations

import pytest

from gradverify import cli

NETWORK = """
import numpy as np
import gradverify as gv


def forward(x, W):
    return np.tanh(x @ W.T), (x, W)


def backward(upstream, cache):
    x, W = cache
    delta = upstream * (1 - np.tanh(x @ W.T) ** 2)
    return {"x": delta @ W, "W": delta.T @ x}


def halved(upstream, cache):
    return {name: 0.5 * g for name, g in backward(upstream, cache).items()}


def primals(rng):
    return {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((4, 3))}


@gv.subject
def right(rng):
    return (forward, backward), primals(rng)


@gv.subject
def wrong(rng):
    return (forward, halved), primals(rng)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def network(here):
    path = here / "net.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture
def run(here, capsys):
    def gradverify(*argv):
        status = cli.main([str(a) for a in argv])
        said = capsys.readouterr()
        return status, said.out, said.err

    return gradverify
