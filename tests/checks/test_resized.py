"""Batches of one, of none, and of more than the one that was given; axes found where nobody says which they are."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.checks._axes import sized
from gradverify.types import Case
from tests.checks.right import NETWORK, B, W, X, Y, affine, affine_back, network, network_back

ONE = {"x": X[:1], "W": W, "b": B}


def rows(backward, check, primals, forward=affine, **more):
    report = gv.verify((forward, backward), primals, checks=[check], **more)
    return [f for f in report.findings if f.check == check]


def verdicts(*args, **more):
    return {f.verdict.value for f in rows(*args, **more)}


def instead(**gradients):
    """The right affine backward with some gradients replaced."""
    return lambda u, c: {**affine_back(u, c), **{k: g(u, *c) for k, g in gradients.items()}}


squeezing = instead(x=lambda u, x, W: np.squeeze(u @ W))
PLAIN = {"x": X, "W": W, "b": B}
SQUARE = {"x": X[:3, :3], "W": W[:, :3], "b": B}


@pytest.mark.parametrize("primals", [PLAIN, SQUARE], ids=["plain", "batch as large as the widths"])
@pytest.mark.parametrize("check", ["batch-one", "zero-batch"])
def test_the_axis_of_the_samples_is_found_where_nobody_says_it(primals, check):
    assert verdicts(affine_back, check, primals) <= {"pass", "skipped"}
    assert "pass" in verdicts(affine_back, check, primals)


def test_a_squeeze_that_drops_a_batch_of_one_fails_without_being_told_the_axis():
    assert "fail" in verdicts(squeezing, "batch-one", PLAIN)


def test_a_squeeze_that_drops_a_width_of_one_fails_without_being_told_the_axis():
    narrow = instead(W=lambda u, x, W: np.squeeze(u.T @ x))
    assert "fail" in verdicts(narrow, "size-one-axes", PLAIN)


def test_a_mean_over_no_samples_fails_at_an_empty_batch():
    averaged = instead(W=lambda u, x, W: np.mean(u[:, :, None] * x[:, None, :], axis=0) * len(x))
    assert "fail" in verdicts(averaged, "zero-batch", PLAIN)


def test_data_among_the_constants_have_samples_too():
    found = rows(network_back, "batch-one", NETWORK, network, constants={"x": X, "y": Y})
    assert {f.verdict.value for f in found} == {"pass"}
    assert all("(x, y)" in f.of for f in found)


def test_columns_as_samples_are_not_taken_for_rows():
    primals = {"W": W, "x": X.T.copy(), "b": B[:, None]}
    found = verdicts(
        lambda u, c: {"W": u @ c[1].T, "x": c[0].T @ u, "b": u.sum(axis=1, keepdims=True)},
        "batch-one",
        primals,
        lambda W, x, b: (W @ x + b, (W, x)),
    )
    assert found == {"skipped"}


def test_targets_hidden_in_the_forward_leave_the_batch_alone():
    target = np.ones((5, 3))
    forward = lambda x, W: (np.mean((x @ W.T - target) ** 2), (x, W))  # noqa: E731

    def backward(u, cache):
        x, W = cache
        delta = u * 2 * (x @ W.T - target) / target.size
        return {"x": delta @ W, "W": delta.T @ x}

    assert verdicts(backward, "batch-one", {"x": X, "W": W}, forward) == {"skipped"}


def test_a_deviation_of_one_sample_is_constant_so_its_gradient_is_not_nan():
    def std(x, W):
        z = x @ W.T
        return z + z.std(axis=0), (x, W)

    def std_back(u, cache):
        x, W = cache
        z = x @ W.T
        d = u + u.sum(axis=0) * (z - z.mean(axis=0)) / (len(z) * z.std(axis=0))
        return {"x": d @ W, "W": d.T @ x}

    assert "fail" in verdicts(std_back, "batch-one", {"x": X, "W": W}, std)


def test_a_pole_at_the_first_sample_is_no_bug():
    x = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])

    def root_back(u, x):
        with np.errstate(divide="ignore"):
            return {"x": u * 0.5 / np.sqrt(x)}

    found = verdicts(root_back, "batch-one", {"x": x}, lambda x: (np.sqrt(x), x), upstream=np.ones((3, 2)))
    assert found == {"pass"}


@pytest.mark.parametrize(
    "b",
    [lambda u, x, W: u[0], lambda u, x, W: u.reshape(-1) if len(u) == 1 else u, lambda u, x, W: u.mean(axis=0)],
    ids=["first sample", "not summed", "mean"],
)
def test_what_one_sample_cannot_tell_three_do(b):
    assert "fail" in verdicts(instead(b=b), "larger-batch", ONE)


def test_a_right_gradient_of_one_sample_is_right_with_three():
    found = rows(affine_back, "larger-batch", ONE)
    assert {f.verdict.value for f in found} == {"pass"}
    assert all("a batch of one" in f.notes[-1] for f in found)


def test_one_sample_with_its_label_is_drawn_larger_with_both():
    found = rows(network_back, "larger-batch", NETWORK, network, constants={"x": X[:1], "y": Y[:1]})
    assert {f.verdict.value for f in found} == {"pass"}


def test_a_row_that_is_a_bias_is_not_taken_for_a_sample():
    primals = {"a": X, "b": W[:1]}
    right = lambda u, c: {"a": u * c[1], "b": (u * c[0]).sum(axis=0, keepdims=True)}  # noqa: E731
    assert verdicts(right, "larger-batch", primals, lambda a, b: (a * b, (a, b))) == {"skipped"}


def test_labels_in_a_list_stay_so_no_batch_is_guessed():
    found = verdicts(network_back, "larger-batch", NETWORK, network, constants={"x": X[:1], "y": [int(Y[0])]})
    assert found == {"skipped"}


def test_constants_that_are_no_arrays_are_left_alone():
    forward = lambda x, W, b, notes: affine(x, W, b)  # noqa: E731
    found = verdicts(affine_back, "larger-batch", ONE, forward, constants={"notes": [[1, 2], [3]]})
    assert found == {"pass"}


def alone(u, c):
    """The affine backward, with a branch for one sample that forgets the weights."""
    return {**affine_back(u, c), **({"x": np.ones_like(c[0])} if len(u) == 1 else {})}


def narrow(u, c):
    """The affine backward, with a branch for one output that forgets to multiply by the input."""
    return {**affine_back(u, c), **({"W": np.ones_like(c[1]) * u.sum()} if u.shape[1] == 1 else {})}


def judged_too(backward, check, **more):
    """The verdicts of a check where the value at the given point is judged as well."""
    report = gv.verify((affine, backward), PLAIN, checks=["pullback-matches-oracle", check], **more)
    return {f.verdict.value for f in report.findings if f.check == check}


@pytest.mark.parametrize(("backward", "check"), [(alone, "batch-one"), (narrow, "size-one-axes")])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_value_at_an_axis_of_one_is_found(backward, check, dtype):
    assert "fail" in judged_too(backward, check, dtype=dtype)
    assert judged_too(affine_back, check, dtype=dtype) == {"pass"}


def test_where_the_value_is_wrong_already_an_axis_of_one_adds_no_row_about_it():
    assert judged_too(instead(x=lambda u, x, W: 2 * u @ W), "batch-one") == {"pass"}


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


HOT = np.eye(3)[[0, 2, 1, 1, 2]]


@pytest.mark.parametrize(
    "labels", [HOT, HOT.astype(int), HOT.astype(bool), 0.9 * HOT + 0.1 / 3], ids=["hot", "ints", "bools", "smoothed"]
)
@pytest.mark.parametrize("reduce", [np.sum, np.mean])
def test_labels_that_sum_to_one_still_do_where_the_classes_are_fewer(labels, reduce):
    def forward(z, y):
        return reduce(-np.sum(y * np.log(softmax(z)), axis=1)), (z, y)

    def backward(u, cache):
        z, y = cache
        return {"z": u * (softmax(z) - y) / (len(z) if reduce is np.mean else 1)}

    z = np.random.default_rng(0).standard_normal((5, 3))
    report = gv.verify((forward, backward), {"z": z}, constants={"y": labels})
    assert report.verdict == "pass", str(report)
    assert any(f.check == "size-one-axes" and f.verdict == "pass" for f in report.findings)


@pytest.mark.parametrize(
    "labels", [np.eye(3)[[0, 2, 1, 1, 0]], np.full((5, 3), 0.1) + 0.7 * np.eye(3)[[0, 2, 1, 1, 0]]]
)
def test_labels_cut_to_one_class_still_sum_to_one(labels):
    def loss(z, t):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return -np.sum(t * np.log(p)) / len(z), (p, t)

    def backward(dout, cache):
        p, t = cache
        return dout * (p - t) / len(p)

    point = {"z": np.random.default_rng(0).standard_normal((5, 3))}
    assert gv.verify((loss, backward), point, constants={"t": labels}).verdict == "pass"


def test_samples_that_have_each_class_once_keep_their_labels():
    case = Case(name="c", primals={"x": np.ones((3, 2))}, constants={"t": np.eye(3)})
    assert np.array_equal(sized(case, {"t": 0}, 1).constants["t"], [[1.0, 0.0, 0.0]])
    assert np.array_equal(sized(case, {"t": 1}, 4).constants["t"], np.eye(3, 4))


def test_one_hot_labels_stay_one_hot_where_classes_are_cut():
    def loss(z, y):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return -np.mean(np.sum(y * np.log(p), axis=1)), (p, y)

    hot = np.eye(4)[[0, 3, 1, 1, 2]]
    backward = lambda u, c: {"z": u * (c[0] - c[1]) / len(c[1])}  # noqa: E731
    assert "fail" not in verdicts(backward, "size-one-axes", {"z": X}, loss, constants={"y": hot})


def test_samples_that_have_each_class_once_are_judged_as_ever():
    def loss(z, t):
        p = softmax(z)
        return -np.sum(t * np.log(p)) / len(z), (p, t)

    point, labels = {"z": np.random.default_rng(0).standard_normal((3, 3))}, np.eye(3)[[1, 0, 2]]
    report = gv.verify((loss, lambda d, c: d * (c[0] - c[1]) / len(c[0])), point, constants={"t": labels})
    assert report.verdict == "pass"


def test_on_a_gpu_no_table_is_cut_that_integers_point_into(monkeypatch):
    for module in ("_axes", "_settings"):
        monkeypatch.setattr(f"gradverify.checks.{module}.unguarded", lambda bench: True)
    outside = []

    def rows(E, i):
        if i.max() >= len(E):
            outside.append(E.shape)
        return E[np.minimum(i, len(E) - 1)], (E, i)

    def back(u, cache):
        E, i = cache
        dE = np.zeros_like(E)
        np.add.at(dE, i, u)
        return {"E": dE}

    point = {"E": np.random.default_rng(0).standard_normal((7, 4))}
    assert gv.verify((rows, back), point, constants={"i": np.array([6, 0, 6, 2])}).verdict == "pass"
    assert not outside


def circular(x, k):
    n = x.shape[-1]
    return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(k, n=n), n=n), (x, k)


def circular_back(u, cache):
    x, k = cache
    n, over = x.shape[-1], np.fft.rfft(u)
    correlated = np.fft.irfft(over * np.conj(np.fft.rfft(x)), n=n).sum(axis=0)
    return {"x": np.fft.irfft(over * np.conj(np.fft.rfft(k, n=n)), n=n), "k": correlated[: len(k)]}


def test_an_axis_without_which_another_primal_is_cropped_keeps_its_length():
    rng = np.random.default_rng(0)
    primals = {"x": rng.standard_normal((3, 9)), "k": rng.standard_normal(4)}
    assert "fail" not in verdicts(circular_back, "size-one-axes", primals, circular)


def written_for(n, m):
    """A forward that takes any length, a backward for one."""

    def forward(x, b):
        return np.cumsum(np.tanh(x), axis=1) + b, x

    def backward(u, x):
        g, running = np.zeros((n, m)), np.zeros(n)
        for t in reversed(range(m)):
            running = running + u[:, t]
            g[:, t] = running * (1 - np.tanh(x[:, t]) ** 2)
        return {"x": g, "b": u.sum(axis=0)}

    return forward, backward


def literal_forward(x, W):
    return np.tanh(x) @ W, (x, W)


def literal_backward(u, cache):
    x, W = cache
    return {"x": (u @ W.T).reshape(5, 4) * (1 - np.tanh(x) ** 2), "W": np.tanh(x).T @ u}


class Sized:
    def __init__(self, n):
        self.n, self.W = n, W.T.copy()

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, u):
        self.dW = self.x.reshape(self.n, -1).T @ u.reshape(self.n, -1)
        return (u @ self.W.T).reshape(self.n, -1)


RESIZED = {"batch-one", "size-one-axes", "larger-batch", "telling-settings"}


@pytest.mark.parametrize(
    ("subject", "primals"),
    [
        (written_for(5, 4), {"x": X, "b": X[0]}),
        (written_for(5, 5), {"x": np.c_[X, X[:, 0]], "b": X[:, 0]}),
        ((literal_forward, literal_backward), {"x": X, "W": W.T.copy()}),
        (Sized(5), {"x": X}),
    ],
    ids=["closure", "square", "literal", "attribute"],
)
def test_code_that_is_written_for_one_length_is_right_at_that_length(subject, primals):
    report = gv.verify(subject, primals)
    assert report.verdict == "pass", str(report)
    said = [f.why for f in report.findings if f.check in RESIZED and f.verdict.value == "skipped"]
    assert any("written for one length" in why for why in said)


def test_a_batch_size_that_stands_in_the_code_as_a_divisor_is_found():
    def mean(x, W):
        return ((x @ W.T) ** 2).mean(axis=0), (x, W)

    def mean_back(u, cache):
        x, W = cache
        dz = 2 * u * (x @ W.T) / 4  # the batch of the first test, which was as long as x is wide
        return {"x": dz @ W, "W": dz.T @ x}

    assert "fail" in verdicts(mean_back, "larger-batch", {"x": X[:4], "W": W}, mean)


def test_what_the_code_held_it_holds_afterwards():
    n, m = 5, 4
    forward, backward = written_for(n, m)
    gv.verify((forward, backward), {"x": X, "b": X[0]})
    assert [cell.cell_contents for cell in backward.__closure__] == [4, 5]
    before = literal_backward.__code__
    gv.verify((literal_forward, literal_backward), {"x": X, "W": W.T.copy()})
    assert literal_backward.__code__ is before


def test_an_angle_between_vectors_of_one_entry_has_no_gradient_by_the_chain_rule():
    def angles(x, W):
        u, v = x / np.linalg.norm(x, axis=1, keepdims=True), W / np.linalg.norm(W, axis=1, keepdims=True)
        return np.arccos(u @ v.T), (x, W)

    def angles_back(d, cache):
        x, W = cache
        n, m = np.linalg.norm(x, axis=1, keepdims=True), np.linalg.norm(W, axis=1, keepdims=True)
        u, v = x / n, W / m
        with np.errstate(all="ignore"):
            dc = -d / np.sqrt(1 - (u @ v.T) ** 2)
            du, dv = dc @ v, dc.T @ u
            return {
                "x": (du - u * (du * u).sum(1, keepdims=True)) / n,
                "W": (dv - v * (dv * v).sum(1, keepdims=True)) / m,
            }

    assert verdicts(angles_back, "size-one-axes", {"x": X[:4, :3], "W": W[:2, :3]}, angles) <= {"pass", "skipped"}


def reflected(x, k):
    return np.convolve(np.pad(x, 2, mode="reflect"), k[::-1], "valid"), (x, k)


def reflected_back(u, cache):
    x, k = cache
    xp, n = np.pad(x, 2, mode="reflect"), len(x)
    g = np.convolve(u, k, "full")
    dx = g[2 : 2 + n].copy()
    for i in range(2):
        dx[2 - i] += g[i]
        dx[n - 2 - i] += g[n + 2 + i]
    return {"x": dx, "k": np.array([u @ xp[j : j + n] for j in range(5)])}


def test_an_axis_that_must_be_longer_than_a_border_is_not_asked_to_be_one():
    primals = {"x": np.random.default_rng(0).standard_normal(8), "k": np.random.default_rng(1).standard_normal(5)}
    assert gv.verify((reflected, reflected_back), primals).verdict == "pass"


def test_a_signal_that_is_too_short_to_be_shifted_need_not_be_one_sample():
    def late(x):
        return x[2:] if len(x) > 2 else np.zeros(0)

    def echo(x, a):
        return x + a * np.append(np.zeros(2), x)[: len(x)], (x, a)

    def echo_back(u, cache):
        x, a = cache
        return {"x": u + a * np.append(late(u), np.zeros(2)), "a": u @ np.append(np.zeros(2), x[: len(x) - 2])}

    primals = {"x": np.random.default_rng(0).standard_normal(8), "a": np.array(0.3)}
    assert gv.verify((echo, echo_back), primals).verdict == "pass"
