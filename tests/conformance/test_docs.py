"""docs/conformance.md, followed in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("follows")
    (path / "backend.py").write_text(blocks("python")[0], encoding="utf-8")
    (path / "waivers.toml").write_text(blocks("toml")[0], encoding="utf-8")
    return path


def run(folder, *command):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250)


def test_the_command_of_the_page_passes_on_the_target_of_the_page(folder):
    words = blocks("console")[0].split()
    some = ["-k", "tanh/3x4 or affine/4x3 or linear-adjoint", "-p", "no:cacheprovider"]
    found = run(folder, sys.executable, "-m", *words, *some, "--strict-config", "--strict-markers")
    assert found.returncode == 0, found.stdout + found.stderr
    assert re.search(r"[1-9]\d* checks judged", found.stdout)


def test_the_python_of_the_page_runs(folder):
    found = run(folder, sys.executable, "-c", blocks("python")[-1])
    assert found.returncode == 0, found.stderr


def test_the_capabilities_of_the_page_are_capabilities():
    namespace = {}
    exec(blocks("python")[1], namespace)
    assert namespace["capabilities"].reason("no-aliasing")


def test_the_waivers_of_the_page_are_read(folder):
    from gradverify.waivers import read_waivers

    assert [w.case for w in read_waivers(folder / "waivers.toml")] == ["tanh/far"]


def test_the_targets_and_the_waivers_that_the_page_names_are_there():
    import importlib

    from gradverify.waivers import read_waivers

    named = re.findall(r"`(gradverify\.conformance\.targets\.\w+):target`", PAGE)
    assert len(named) >= 4
    assert all(hasattr(importlib.import_module(name), "target") for name in named)
    (line,) = [line for line in blocks("sh")[0].splitlines() if line.startswith("here=")]
    code = re.search(r'python -c "(.*)"', line).group(1)
    where = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    assert read_waivers(Path(where) / "torch.toml")
