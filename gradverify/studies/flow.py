"""``gradverify flow``: how gradients change on their way from the loss to the first layer.

Derivation, section 'Gradient Flow and Vanishing/Exploding Gradients'. Without a file: deep classifiers made of
``reference_impl``'s ops with the remedies of the text side by side, and networks trained on scikit-learn's digits.
With ``FILE[:NAME]``: the networks of a user's subjects. The rules of the verdict are in ``_rates``.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify import options
from gradverify.errors import AdapterError, MissingExtra
from gradverify.studies import _tables
from gradverify.studies._deep import SCENARIOS, Scenario, parameters_of, passed
from gradverify.studies._flow_figure import figure
from gradverify.studies._networks import bias_of, gradients_of, weights_of
from gradverify.studies._progress import watched
from gradverify.studies._rates import fitted, gain, verdict
from gradverify.studies._subjects import drawn, subjects_of
from gradverify.types import rng_for

COLUMNS = {
    "network": "network", "layers": "layers", "ws": "w s", "delta_rate": "rate of dL/dz", "rate": "rate of dL/dW",
    "fit": "R²", "largest": "largest dL/dW", "verdict": "verdict", "why": "why",
}  # fmt: skip


HOW = (
    "The text's law says that the gradient of layer l is proportional to (w s)^(L-l): w is the mean gain of the",
    "weights, s the root mean square slope of the activations. It is about dL/dz; the rates are least-squares fits of",
    "the same exponential to the measured norms of the hidden layers (for your networks dL/db stands for dL/dz). Where",
    "weights are small, activations shrink forward as dL/dz shrinks backward, and dL/dW, their product, is small",
    "everywhere. Residual connections and normalisation are not in the law, so there the two differ. Vanishing: layer",
    "1 gets less than a hundredth of what the last layer gets; exploding: more than a hundred times. Clipping by norm",
    "caps the step and leaves the ratio of the layers as it is; clipping by value changes the direction.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whose network, how deep, and where the table goes."""
    parser.add_argument("paths", nargs="*", metavar="FILE[:NAME]", help="your networks; default: the comparison")
    parser.add_argument(
        "--weights", type=_names, metavar="A,B", help="the weights of your layers, the first layer first"
    )
    parser.add_argument("--depth", type=_count, default=20, metavar="N", help="layers of the comparison (default: 20)")
    parser.add_argument("--width", type=_count, default=64, metavar="N", help="units of a layer (default: 64)")
    parser.add_argument("--epochs", type=options.seed, default=30, metavar="N", help="of training on digits; 0: none")
    parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="the address of all randomness")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 3:
        raise argparse.ArgumentTypeError(f"a number of layers or units is a whole number from 3 up, not {text!r}")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """Write flow.csv, flow.md and, with matplotlib, flow.svg; status 1 when a user's network is not healthy."""
    out = _tables.folder(args.out)
    rows = (
        user_rows(args.paths, args.weights or (), args.seed)
        if args.paths
        else [*comparison(args.depth, args.width, args.seed), *trained(args.epochs, args.seed)]
    )
    networks = summary(rows)
    head = _tables.header(command_of(args), args.seed)
    _tables.write_csv(out / "flow.csv", rows, head)
    try:
        drawn_at = figure(rows, out / "flow.svg")
        note = f"![gradient norms by layer]({drawn_at.name})"
    except MissingExtra as missing:
        drawn_at, note = None, f"No figure: {missing}"
    _tables.write_markdown(out / "flow.md", _text(networks, note), head)
    sys.stdout.writelines(f"{line}\n" for line in _tables.plain_table(networks, COLUMNS))
    sys.stdout.write(f"report: {out / 'flow.md'} (and .csv{', .svg' if drawn_at else ''})\n")
    if drawn_at is None:
        sys.stdout.write(f"{note}\n")
    if not args.paths:
        return 0
    found = {n["verdict"] for n in networks}
    return 1 if found & {"vanishing", "exploding"} else 0 if "healthy" in found else 5


def command_of(args: argparse.Namespace) -> str:
    """The command that makes the same table."""
    words = ["gradverify", "flow", *args.paths]
    words += ["--weights", ",".join(args.weights)] if args.weights else []
    if not args.paths:
        words += ["--depth", str(args.depth), "--width", str(args.width), "--epochs", str(args.epochs)]
    return shlex.join([*words, "--seed", str(args.seed)])


def comparison(depth: int = 20, width: int = 64, seed: int = 0) -> list[dict[str, Any]]:
    """A row per layer of each scenario."""
    rng = rng_for(seed, "flow", "data")
    X, labels = rng.standard_normal((64, width)), rng.integers(0, 10, 64)
    rows: list[dict[str, Any]] = []
    for s in watched(SCENARIOS, lambda s: s.name):
        parameters = parameters_of(s, (*(width,) * depth, 10), rng_for(seed, "flow", s.sigma, s.initialisation))
        rows += _layers(s, X, labels, parameters)
    return rows


def _layers(s: Scenario, X: Any, labels: Any, parameters: Sequence[Any], name: str = "") -> Iterator[dict[str, Any]]:
    """A row per layer; the output layer has another width and no activation, so it stays out of the fit."""
    p = passed(s, X, labels, parameters)
    for i, (g, w) in enumerate(zip(p.gradients[:-1], p.gains[:-1], strict=True), start=1):
        place = (s.group, name or s.name, i, f"W{i}", len(p.gradients) - 1)
        yield _row(*place, g, p.deltas[i - 1], parameters[2 * i - 2], w, p.slopes[i - 1])


def _row(
    group: str, network: str, layer: int, weights: str, layers: int, gradient: Any, delta: float, W: Any, w: float,
    s: float,
) -> dict[str, Any]:  # fmt: skip
    return {
        "group": group, "network": network, "layer": layer, "weights": weights, "from_output": layers - layer,
        "gradient_norm": float(np.linalg.norm(np.asarray(gradient, dtype=float))), "delta_norm": delta,
        "weight_norm": float(np.linalg.norm(np.asarray(W, dtype=float))), "w": w, "s": s, "ws": w * s,
    }  # fmt: skip


def trained(epochs: int = 30, seed: int = 0, hidden: int = 6) -> list[dict[str, Any]]:
    """Networks on scikit-learn's digits, at the start and after training; no rows without scikit-learn or epochs."""
    if not epochs:
        return []
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return []
    from reference_impl.training import fit_classifier

    digits = load_digits()
    X, y = digits.data / 16.0, digits.target
    order = rng_for(seed, "flow", "digits").permutation(len(X))
    train, test = order[:1400], order[1400:]
    rows: list[dict[str, Any]] = []
    for sigma, initialisation in (("sigmoid", "xavier"), ("relu", "he")):
        s = Scenario(group="trained on digits", sigma=sigma, initialisation=initialisation)
        start = parameters_of(s, (64, *(32,) * hidden, 10), np.random.default_rng(seed))
        fit = fit_classifier(
            X[train], y[train], hidden=(32,) * hidden, sigma=sigma, initialisation=initialisation, epochs=epochs,
            rate=0.05, seed=seed,
        )  # fmt: skip
        accuracy = fit.accuracy(X[test], y[test])
        rows += _layers(s, X[train[:256]], y[train[:256]], start, f"{s.name}, digits, start")
        after = f"{s.name}, digits, {epochs} epochs, {accuracy:.0%} right"
        rows += _layers(s, X[train[:256]], y[train[:256]], fit.parameters, after)
    return rows


def user_rows(paths: Sequence[str], weights: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """A row per layer of each subject; s is unknown here (its size follows from the rate).

    Raises UsageError and AdapterError as ``gradverify check`` does, and AdapterError for a weight without a gradient.
    """
    rows: list[dict[str, Any]] = []
    for subject in watched(subjects_of(paths), lambda s: s.name):
        adapter, case = drawn(subject, seed)
        names = weights_of(adapter, case, weights)
        gradients = gradients_of(adapter, case, seed)
        for i, name in enumerate(names, start=1):
            W, g = case.primals[name], gradients.get(name)
            if g is None:
                raise AdapterError(f"{subject.name}: backward gave no gradient (None) for {name}")
            bias = gradients.get(bias_of(name, case) or "")  # the sum of the deltas over the batch
            delta = math.nan if bias is None else float(np.linalg.norm(np.asarray(bias, dtype=float)))
            rows.append(_row("yours", subject.name, i, name, len(names), g, delta, W, gain(W), math.nan))
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per network: the law's factor, the fitted rate, the verdict and its reason."""
    found = []
    for group, network in dict.fromkeys((r["group"], r["network"]) for r in rows):
        layers = [r for r in rows if (r["group"], r["network"]) == (group, network)]
        norms = [r["gradient_norm"] for r in layers]
        deltas = [r["delta_norm"] for r in layers]
        w, s = _mean([r["w"] for r in layers[1:]]), _mean([r["s"] for r in layers[:-1]])
        rate, (word, why) = fitted(norms), verdict(norms, deltas, w, s)
        found.append({
            "group": group, "network": network, "layers": len(layers), "w": w, "s": s, "ws": w * s,
            "rate": rate.factor, "delta_rate": fitted(deltas).factor,
            "fit": rate.fit, "first_over_last": norms[0] / norms[-1] if norms[-1] else math.nan, "largest": max(norms),
            "verdict": word, "why": why,
        })  # fmt: skip
    return found


def _mean(values: Sequence[float]) -> float:
    """The geometric mean; NaN where there is none."""
    if not values or not all(v > 0 for v in values):
        return math.nan
    return float(np.exp(np.mean(np.log(values))))


def _text(networks: Sequence[Mapping[str, Any]], note: str) -> Iterator[str]:
    """The Markdown: a table per group of scenarios, so that one thing changes from row to row."""
    yield "# How gradients flow"
    yield ""
    said = [n["verdict"] for n in networks]
    yield f"**{len(networks)} networks: {', '.join(f'{said.count(v)} {v}' for v in dict.fromkeys(said))}**"
    yield ""
    yield note
    for group in dict.fromkeys(n["group"] for n in networks):
        yield ""
        yield f"## {group[0].upper()}{group[1:]}"
        yield ""
        yield from _tables.markdown_table([n for n in networks if n["group"] == group], COLUMNS)
    yield ""
    yield from HOW
