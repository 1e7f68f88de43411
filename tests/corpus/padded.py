"""Primals padded with NaN, which the forward leaves out."""

import numpy as np

from tests.corpus._items import twins

PADDED = "reason: a mean, a sine, a choice: differences of a padded entry are NaN"


def _padded(rng):
    x = rng.standard_normal((3, 5))
    x[0, 3:] = x[2, 4] = np.nan
    return x


@twins(
    "mean_of_what_is_there",
    why="np.nanmean over rows of different lengths",
    bugs={"length": "divided by the padded length"},
    truth=PADDED,
    differs="compared by its verdict: NaN where it is padded",
)
def mean_of_what_is_there(rng, bug):
    def backward(d, x):
        there = ~np.isnan(x)
        return np.where(there, (d / (x.shape[1] if bug else there.sum(axis=1)))[:, None], 0)

    return (lambda x: (np.nanmean(x, axis=1), x), backward), {"x": _padded(rng)}


@twins(
    "nan_gradient_where_padded",
    why="the gradient is NaN where x is: nobody uses it",
    bugs={"entry": "one entry is off by a thousandth"},
    truth=PADDED,
    differs="compared by its verdict: NaN where it is padded",
)
def nan_gradient_where_padded(rng, bug):
    def loss(x):
        there = ~np.isnan(x)
        g = np.full_like(x, np.nan)
        g[there] = 2 * np.cos(x[there])
        g[1, 0] *= 1.001 if bug else 1
        return 2 * np.sin(x[there]).sum(), {"x": g}

    return loss, {"x": _padded(rng)}


@twins(
    "imputed",
    why="missing entries are filled with a parameter",
    bugs={"unmasked": "the gradient of the parameter counts entries that are there"},
    truth=PADDED,
    differs="compared by its verdict: NaN where it is padded",
)
def imputed(rng, bug):
    def forward(x, fill):
        missing = np.isnan(x)
        return np.where(missing, fill, x), missing

    def backward(d, missing):
        return d * ~missing, (d if bug else d * missing).sum(axis=0)

    return (forward, backward), {"x": _padded(rng), "fill": rng.standard_normal(5)}


@twins(
    "written_to",
    why="only what is there is doubled, in a copy",
    bugs={"in-place": ("forward doubles the caller's array", ("primal-mutated",))},
    truth=PADDED,
    differs="a contract that NaN, unequal to itself, does not let the soundness test compare",
)
def written_to(rng, bug):
    def forward(x):
        y = x if bug else x.copy()
        there = ~np.isnan(x)
        y[there] *= 2
        return np.nansum(y, axis=1), there

    return (forward, lambda d, there: 2 * d[:, None] * there), {"x": _padded(rng)}
