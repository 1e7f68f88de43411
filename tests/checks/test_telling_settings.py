"""Points and settings that cannot tell: each bug passes at the given one and is found all the same."""

import numpy as np
import pytest

import gradverify as gv
from tests.checks.right import B, W, X, affine, affine_back

RNG = np.random.default_rng(5)


def report(backward, primals, forward=affine, **more):
    return gv.verify((forward, backward), primals, **more)


def failing(*args, **more):
    return {f.check for f in report(*args, **more).findings if f.verdict == "fail"}


def windows(x, w, stride):
    """Valid correlation of rows with one window."""
    index = np.arange(0, x.shape[2] - len(w) + 1, stride)[:, None] + np.arange(len(w))
    return x[:, :, index] @ w, (x, w, index)


def windows_back(bug=""):
    def backward(u, cache):
        x, w, index = cache
        dx = np.zeros_like(x)
        for i, at in enumerate(index):
            dx[:, :, at] = u[:, :, i, None] * w + (0 if bug == "assigned" else dx[:, :, at])
        if bug == "cropped":
            dx = dx[:, :, : index.max() + 1]
        return {"x": dx, "w": np.einsum("bci,bcij->j", u, x[:, :, index])}

    return backward


WINDOWS = {"x": RNG.standard_normal((2, 3, 6)), "w": RNG.standard_normal(2)}


def logistic(W, x, y, reg=0.0):
    z = x @ W.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(y)), y])) + reg * np.sum(W**2), (W, x, y, p, reg)


def logistic_back(bug=""):
    def backward(u, cache):
        W, x, y, p, reg = cache
        hot = np.eye(p.shape[1])[y]
        if bug == "last class":
            hot[:, -1] = 0
        return {"W": u * ((p - hot).T @ x / len(y) + (0 if bug == "no penalty" else 2 * reg * W))}

    return backward


FIRST = {"x": X, "y": np.array([0, 1, 1, 0, 0])}


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), (x, alpha)


def elu_back(bug=""):
    return lambda u, c: {"x": u * np.where(c[0] > 0, 1, (1 if bug else c[1]) * np.exp(np.minimum(c[0], 0)))}


def masked_mean(x, mask):
    n = mask.sum(axis=1, keepdims=True)
    return (x * mask).sum(axis=1) / n[:, 0], (mask, n)


def masked_mean_back(bug=""):
    return lambda u, c: {"x": u[:, None] * c[0] / (c[0].shape[1] if bug else c[1])}


def weighted(x, weights):
    return weights @ x**2 / weights.sum(), (x, weights)


def weighted_back(bug=""):
    return lambda u, c: {"x": 2 * u * c[0] * c[1] / (len(c[0]) if bug else c[1].sum())}


def dropout(x, keep_prob=1.0):
    mask = np.random.rand(*x.shape) < keep_prob  # noqa: NPY002 - the global generator, as in much real code
    return x * mask / keep_prob, (mask, keep_prob)


def dropout_back(bug=""):
    return lambda u, c: {"x": u * c[0] / (1 if bug else c[1])}


def dilated(x, w, dilation=1):
    n = x.shape[2] - dilation * (len(w) - 1)
    return sum(w[i] * x[:, :, i * dilation : i * dilation + n] for i in range(len(w))), (x, w, dilation)


def dilated_back(bug=""):
    def backward(u, cache):
        x, w, dilation = cache
        dx, n = np.zeros_like(x), u.shape[2]
        for i in range(len(w)):
            at = i * (1 if bug else dilation)
            dx[:, :, at : at + n] += w[i] * u
        taps = [np.sum(u * x[:, :, i * dilation : i * dilation + n]) for i in range(len(w))]
        return {"x": dx, "w": np.array(taps)}

    return backward


def pinball(x, tau=0.5):
    return np.sum(np.maximum(tau * x, (tau - 1) * x)), (x, tau)


def pinball_back(bug=""):
    return lambda u, c: {"x": u * (np.where(c[0] < 0, -c[1], 1 - c[1]) if bug else np.where(c[0] > 0, c[1], c[1] - 1))}


SCENES = {
    "a level of one half": (pinball, pinball_back, "swapped", {"x": X}, {}),
    "a factor of one": (elu, elu_back, "forgotten", {"x": X}, {"alpha": 1.0}),
    "a factor left at one": (elu, elu_back, "forgotten", {"x": X}, {}),
    "a mask that masks nothing": (masked_mean, masked_mean_back, "length", {"x": X}, {"mask": np.ones(X.shape)}),
    "weights of one": (weighted, weighted_back, "count", {"x": X[0]}, {"weights": np.ones(len(X[0]))}),
    "all kept": (dropout, dropout_back, "scale", {"x": X}, {}),
    "a dilation of one": (dilated, dilated_back, "forgotten", WINDOWS, {}),
    "no overlap": (windows, windows_back, "assigned", WINDOWS, {"stride": 2}),
    "a stride that divides": (windows, windows_back, "cropped", WINDOWS, {"stride": 2}),
    "no label of the last class": (logistic, logistic_back, "last class", {"W": W}, FIRST),
    "a penalty of zero": (logistic, logistic_back, "no penalty", {"W": W}, {**FIRST, "reg": 0.0}),
    "a penalty left at zero": (logistic, logistic_back, "no penalty", {"W": W}, FIRST),
}


@pytest.mark.parametrize("scene", SCENES)
def test_what_the_given_setting_hides_is_found_beside_it(scene):
    forward, back, bug, primals, constants = SCENES[scene]
    assert failing(back(bug), primals, forward, constants=constants) == {"telling-settings"}
    assert failing(back(), primals, forward, constants=constants) == set()


@pytest.mark.parametrize(
    ("primals", "bug", "more"),
    [
        (
            {"x": X, "W": W, "b": B},
            {"b": lambda u, x, W: np.sqrt(np.abs(u)).sum(axis=0)},
            {"upstream": np.ones((5, 3))},
        ),
        ({"x": X[:3], "W": W, "b": B}, {"b": lambda u, x, W: u.sum(axis=0) * len(u) / u.shape[1]}, {}),
        ({"x": X[:1], "W": W, "b": B}, {"b": lambda u, x, W: u[0]}, {}),
        ({"x": X, "W": W[:, :3] + W[:, :3].T, "b": B}, {"x": lambda u, x, W: u @ W.T}, {}),
        ({"x": X, "W": np.eye(4), "b": W[1]}, {"x": lambda u, x, W: u @ W.T}, {}),
        ({"x": X, "W": np.ones((3, 4)), "b": B}, {"x": lambda u, x, W: u @ np.ones_like(W)}, {}),
    ],
    ids=["uniform upstream", "batch = width", "one sample", "symmetric weights", "identity", "weights of one"],
)
def test_what_the_given_point_hides_is_found_beside_it(primals, bug, more):
    primals = {k: v[:, :3] if k == "x" and primals["W"].shape == (3, 3) else v for k, v in primals.items()}

    def wrong(u, c):
        return {**affine_back(u, c), **{k: g(u, *c) for k, g in bug.items()}}

    assert failing(wrong, primals, **more)
    assert not failing(affine_back, primals, **more)


@pytest.mark.parametrize("gamma", [np.ones(4), np.array(1.0)], ids=["vector", "number"])
def test_a_gamma_of_one_hides_nothing(gamma):
    primals = {"x": X, "gamma": gamma}
    forward = lambda x, gamma: (x * gamma, (x, gamma))  # noqa: E731

    def back(times):
        return lambda u, c: {"x": u * c[1] ** times, "gamma": (u * c[0]).sum(axis=0 if c[1].ndim else None)}

    assert failing(back(0), primals, forward)
    assert not failing(back(1), primals, forward)


def test_weights_that_stay_symmetric_beside_are_named_as_a_blind_spot():
    positive = W @ W.T + np.eye(3)
    found = report(affine_back, {"x": X[:, :3], "W": positive, "b": B}).findings
    assert any("W taken for its transpose is not seen" in note for f in found for note in f.notes)


def test_complex_arrays_are_no_images_of_two_columns():
    z = np.random.default_rng(0).standard_normal((5, 4)) * (1 + 2j)
    report = gv.verify((lambda z: (z**2, z), lambda d, z: 2 * d * z.conj()), {"z": z})
    [said] = [f for f in report.findings if f.check == "telling-settings"]
    assert (report.verdict, said.verdict) == ("pass", "skipped")
    assert "pairs of reals" in said.why


def squares(p, t, reduction="mean", smoothing=0.0):
    d = p - (1 - smoothing) * t
    loss = d**2
    out = {"mean": loss.mean, "sum": loss.sum, "none": loss.copy}[reduction]()
    return out, (d, reduction, smoothing)


def squares_back(bug=""):
    def backward(u, cache):
        d, reduction, smoothing = cache
        dp = u * 2 * d / (d.size if reduction == "mean" or bug == "always a mean" else 1)
        return {"p": dp, "t": -dp * (1 if bug == "no smoothing" else 1 - smoothing)}

    return backward


PAIR = {"p": RNG.standard_normal((3, 4)), "t": RNG.standard_normal((3, 4))}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_that_reduces_in_three_ways_passes_at_each(reduction):
    assert report(squares_back(), PAIR, squares, constants={"reduction": reduction}).verdict == "pass"


@pytest.mark.parametrize("bug", ["always a mean", "no smoothing"])
def test_another_reduction_and_a_smoothing_that_is_off_are_tried(bug):
    assert failing(squares_back(bug), PAIR, squares) == {"telling-settings"}


def test_a_stride_is_one_by_what_it_does_and_not_by_its_name():
    rename = lambda x, w, every: windows(x, w, every)  # noqa: E731  (a forward as data)
    given = {**WINDOWS, "x": RNG.standard_normal((2, 3, 7))}
    assert report(windows_back(), given, rename, constants={"every": 2}).verdict == "pass"
    assert failing(windows_back("assigned"), given, rename, constants={"every": 2}) == {"telling-settings"}


def test_noise_from_a_hidden_generator_that_is_off_is_left_off():
    hidden = np.random.default_rng()
    noisy = lambda x, sigma: (x * (1 + sigma * hidden.standard_normal(x.shape)), None)  # noqa: E731  (as above)
    assert report(lambda u, _: {"x": u}, {"x": X}, noisy, constants={"sigma": 0.0}).verdict == "pass"


def test_a_layer_made_for_images_of_one_shape_is_not_asked_about_others():
    class Crop:
        """Drops the rows and columns beyond an even number; its gradient has the shape of what is left."""

        def __init__(self, input_shape=None):
            if input_shape is not None:
                self.input_shape = input_shape

        def forward(self, x):
            return 3 * x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]

        def backward(self, dout):
            dx = np.zeros(dout.shape)
            dx[:] = 3 * dout
            return dx

    x = {"x": np.random.default_rng(0).standard_normal((2, 4, 6))}
    assert gv.verify(Crop(input_shape=(4, 6)), x).verdict == "pass"
    assert "telling-settings" in {f.check for f in gv.verify(Crop(), x).findings if f.verdict == "fail"}


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_on_a_gpu_no_array_is_handed_over_whose_shape_does_not_fit_the_others(monkeypatch, on_a_gpu):
    monkeypatch.setattr("gradverify.checks._settings.unguarded", lambda bench: on_a_gpu)
    misfits = []

    def product(q, k):
        if q.shape[2] != k.shape[2]:
            misfits.append((q.shape, k.shape))
            raise ValueError("a kernel would read beyond its end")
        return np.einsum("bic,bjc->bij", q, k), (q, k)

    def back(u, cache):
        q, k = cache
        return {"q": np.einsum("bij,bjc->bic", u, k), "k": np.einsum("bij,bic->bjc", u, q)}

    given = {"q": RNG.standard_normal((2, 5, 4)), "k": RNG.standard_normal((2, 3, 4))}
    assert report(back, given, product, checks=["telling-settings"]).verdict == "pass"
    assert bool(misfits) != on_a_gpu


IDS = np.array([3, 0, 5])


def lookup(E, ids):
    return np.tanh(E[ids]), (E, ids)


def lookup_back(add):
    def backward(u, cache):
        E, ids = cache
        g = np.zeros_like(E)
        add(g, ids, u * (1 - np.tanh(E[ids]) ** 2))
        return {"E": g}

    return backward


def assigned(g, ids, rows):
    g[ids] += rows


@pytest.mark.parametrize(
    "ids", [IDS, np.array([[3, 0], [5, 1]]), np.array([[3, 0, 1], [5, 4, 2]])], ids=["words", "sentences", "each"]
)
def test_a_word_that_is_there_once_is_tried_twice(ids):
    E = {"E": RNG.standard_normal((6, 4))}
    assert report(lookup_back(np.add.at), E, lookup, constants={"ids": ids}).verdict == "pass"
    found = report(lookup_back(assigned), E, lookup, constants={"ids": ids})
    assert found.verdict == "fail"
    assert found.causes[0] == "repeated-indices"
    assert report(lookup_back(np.add.at), {**E, "ids": ids}, lookup).verdict == "pass"
    assert report(lookup_back(assigned), {**E, "ids": ids}, lookup).verdict == "fail"


def test_what_is_written_to_places_that_are_all_different_may_be_read_from_each():
    def scatter(x, at):
        out = np.zeros((6, 2))
        out[at] = x
        return out, at

    primals = {"x": RNG.standard_normal((3, 2))}
    assert report(lambda u, at: {"x": u[at]}, primals, scatter, constants={"at": IDS}).verdict == "pass"


def test_a_permutation_stays_one():
    permuted = lambda x, p: (x[p], p)  # noqa: E731  (as above)

    def back(u, p):
        g = np.empty_like(u)
        g[p] = u
        return {"x": g}

    given = {"p": np.array([2, 0, 3, 1])}
    assert report(back, {"x": RNG.standard_normal((4, 2))}, permuted, constants=given).verdict == "pass"


def scan(a, b):
    """h[t] = a[t] h[t - 1] + b[t], as many steps as ``a`` has."""
    h = [np.zeros_like(b[:, 0])]
    for t in range(a.shape[1]):
        h.append(a[:, t] * h[-1] + b[:, t])
    return np.stack(h[1:], 1), (a, np.stack(h, 1))


def scan_back(u, cache):
    a, h = cache
    db, d = np.zeros_like(u), np.zeros_like(u[:, 0])
    for t in reversed(range(u.shape[1])):
        db[:, t] = u[:, t] + d
        d = db[:, t] * a[:, t]
    return {"a": db * h[:, :-1], "b": db}


def test_what_takes_the_steps_of_another_array_is_not_asked_for_more_of_its_own():
    r = report(scan_back, {"a": RNG.uniform(0.3, 1.1, (2, 5, 3)), "b": RNG.standard_normal((2, 5, 3))}, scan)
    assert r.verdict == "pass", str(r)


class Pool:
    """Max pooling that carries its settings under names of its own."""

    def __init__(self, assigned=False):
        self.size, self.hop, self.assigned = 2, 2, assigned

    def forward(self, x):
        self.x = x
        starts = range(0, x.shape[1] - self.size + 1, self.hop)
        self.at = [np.s_[:, i : i + self.size] for i in starts]
        return np.stack([x[at].max(axis=1) for at in self.at], axis=1)

    def backward(self, dout):
        dx = np.zeros_like(self.x)
        for i, at in enumerate(self.at):
            mine = (self.x[at] == self.x[at].max(axis=1, keepdims=True)) * dout[:, i : i + 1]
            dx[at] = mine + (0 if self.assigned else dx[at])
        return dx


class Ridge:
    def __init__(self, forgets=False):
        self.W, self.reg, self.forgets = W.T.copy(), 0.0, forgets

    def loss(self, X, y):
        self.X, self.residual = X, X @ self.W - y
        return 0.5 * np.sum(self.residual**2) + 0.5 * self.reg * np.sum(self.W**2)

    def backward(self):
        self.dW = self.X.T @ self.residual + (0 if self.forgets else self.reg * self.W)


class Decays(Ridge):
    """The decay is a matter of the update, as for some optimizers: the loss knows nothing of it."""

    def loss(self, X, y):
        self.X, self.residual = X, X @ self.W - y
        return 0.5 * np.sum(self.residual**2)


class Filter:
    """Says how long its weights are, and asks them in backward."""

    def __init__(self):
        self.width, self.w = 3, RNG.standard_normal(3)

    def forward(self, x):
        self.x = x
        return np.stack([(x[:, i : i + self.width] * self.w).sum(1) for i in range(x.shape[1] - self.width + 1)], 1)

    def backward(self, dout):
        dx, self.dw = np.zeros_like(self.x), np.zeros_like(self.w)
        for i in range(self.x.shape[1] - len(self.w) + 1):
            dx[:, i : i + len(self.w)] += dout[:, i, None] * self.w
            self.dw += dout[:, i] @ self.x[:, i : i + len(self.w)]
        return dx


def test_a_number_that_says_how_long_a_parameter_is_stays():
    assert gv.verify(Filter(), {"x": RNG.standard_normal((4, 7))}).verdict == "pass"


@pytest.mark.parametrize(("wrong", "verdict"), [(False, "pass"), (True, "fail")])
def test_windows_of_an_object_that_do_not_overlap_are_made_to(wrong, verdict):
    found = gv.verify(Pool(wrong), {"x": RNG.standard_normal((3, 8))})
    assert found.verdict == verdict
    assert "hop is 2: windows may not overlap" in str(found)


@pytest.mark.parametrize(
    ("kind", "wrong", "verdict"), [(Ridge, False, "pass"), (Ridge, True, "fail"), (Decays, False, "pass")]
)
def test_a_penalty_of_zero_on_an_object_is_switched_on_where_the_loss_has_it(kind, wrong, verdict):
    data = {"X": X, "y": RNG.standard_normal((len(X), len(W)))}
    assert gv.verify(kind(wrong), {}, constants=data).verdict == verdict


def padded_scan(a, b):
    """As ``scan``, with ``a`` filled up to the length of ``b``."""
    return scan(np.pad(a, ((0, 0), (0, b.shape[1] - a.shape[1]), (0, 0))), b)


def test_of_two_arrays_of_one_shape_none_is_made_longer_alone():
    r = report(scan_back, {"a": RNG.uniform(0.3, 1.1, (2, 5, 3)), "b": RNG.standard_normal((2, 5, 3))}, padded_scan)
    assert r.verdict == "pass", str(r)
