"""Counterfactual backprop: the gradients that a forward would have with one rule of its backward replaced."""

import numpy as np
import pytest

from gradverify.tracing import trace
from gradverify.tracing.whatif import hypotheses, replacements

RNG = np.random.default_rng(3)
N, D = 5, 4
X, W, V = RNG.standard_normal((N, D)), RNG.standard_normal((D, D)), RNG.standard_normal((D, D))
U = RNG.standard_normal((N, D))


def network(forward, primals, upstream=U):
    traced = trace(lambda p, c: forward(**p, **c), primals, {}, explain=True)
    return traced.network(upstream)


def found(forward, primals, want, upstream=U, *, others=()):
    """(cause, words) of the hypotheses that give exactly the gradients ``want``, for the primals in it."""
    net = network(forward, primals, upstream)
    return [
        (h.cause, h.words)
        for h in hypotheses(net, others)
        if all(np.allclose(h.gradients[k], v, rtol=1e-12, atol=1e-13) for k, v in want.items())
    ]


def causes(*args, **more):
    return {cause for cause, _ in found(*args, **more)}


def test_without_an_edit_the_gradients_are_the_right_ones():
    net = network(lambda x, w: np.tanh(x @ w), {"x": X, "w": W})
    assert np.allclose(net.right["w"], X.T @ (U * (1 - np.tanh(X @ W) ** 2)))


def test_a_pass_leaves_no_hook_behind():
    net = network(lambda x, w: np.tanh(x @ w), {"x": X, "w": W})
    before = {k: v.copy() for k, v in net.right.items()}
    for _ in hypotheses(net):
        pass
    after = net.pull({}, {})
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_the_users_line_is_said():
    [words] = [w for c, w in found(lambda x: np.tanh(x), {"x": X}, {"x": U}) if c == "missing-activation-derivative"]
    assert "the derivative of tanh left out at test_whatif.py" in words
    assert "np.tanh(x)" in words


@pytest.mark.parametrize(
    ("cause", "wrong"),
    [
        ("missing-activation-derivative", lambda u, z: u),
        ("derivative-of-activation-not-preactivation", lambda u, z: u * (1 - np.tanh(np.tanh(z)) ** 2)),
        ("derivative-of-activation-not-preactivation", lambda u, z: u * (1 - z**2)),
        ("extra-term", lambda u, z: u * (1 - np.tanh(z) ** 2) ** 2),
    ],
)
def test_an_activation_is_differentiated_wrongly(cause, wrong):
    z = X @ W
    assert cause in causes(
        lambda x, w: np.tanh(x @ w), {"x": X, "w": W}, {"w": X.T @ wrong(U, z), "x": wrong(U, z) @ W.T}
    )


def test_a_product_with_the_factor_not_transposed():
    assert "transposed" in causes(lambda x, w: x @ w, {"x": X, "w": W}, {"x": U @ W, "w": X.T @ U})


def test_a_product_whose_gradient_is_transposed():
    assert "transposed" in causes(lambda x, w: x @ w, {"x": X, "w": W}, {"w": (X.T @ U).T, "x": U @ W.T})


def test_a_term_of_the_product_rule_is_missing():
    def forward(x):
        return x * np.exp(x)

    assert "missing-term" in causes(forward, {"x": X}, {"x": U * np.exp(X)})


def test_a_factor_is_left_out():
    assert "missing-term" in causes(lambda x, g: x * g, {"x": X, "g": V[0]}, {"x": U, "g": (U * X).sum(axis=0)})


def test_a_mask_is_left_out():
    mask = (X > 0.3).astype(float)
    assert "wrong-mask" in causes(lambda x: x * mask, {"x": X}, {"x": U})


def test_a_condition_is_inverted():
    assert "wrong-mask" in causes(lambda x: np.where(x > 0, x, 0.0), {"x": X}, {"x": U * (X <= 0)})


def test_a_softmax_is_differentiated_entry_by_entry():
    def forward(x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    s = forward(X)
    assert "softmax-elementwise" in causes(forward, {"x": X}, {"x": U * s * (1 - s)})


def test_the_mean_of_a_normalisation_is_taken_as_constant():
    assert "missing-term" in causes(lambda x: (x - x.mean(axis=0)) ** 2, {"x": X}, {"x": 2 * U * (X - X.mean(axis=0))})


def test_a_sum_is_broadcast_along_the_wrong_axis():
    u = RNG.standard_normal(D)
    assert "wrong-axis" in causes(lambda w: w.sum(axis=1), {"w": W}, {"w": np.tile(u, (D, 1))}, u)


def test_a_bias_of_a_square_layer_is_summed_over_the_wrong_axis():
    u = RNG.standard_normal((D, D))
    assert "wrong-axis" in causes(lambda w, b: w + b, {"w": W, "b": V[0]}, {"b": u.sum(axis=1), "w": u}, u)


def test_indices_that_occur_twice_overwrite_each_other():
    index = np.array([0, 2, 0, 1])
    u = RNG.standard_normal((4, D))
    want = np.zeros_like(W)
    want[index] = u
    assert "repeated-indices" in causes(lambda w: w[index], {"w": W}, {"w": want}, u)


def recurrent(x, h, w):
    for t in range(3):
        h = np.tanh(x[t] @ w + h)
    return h


def test_all_calls_of_one_line_are_changed_together():
    x, h = RNG.standard_normal((3, N, D)), X
    after = [h]
    for t in range(3):
        after.append(np.tanh(x[t] @ W + after[-1]))
    # the carry is dropped: only the last step reaches the weights
    last = U * (1 - after[3] ** 2)
    said = found(recurrent, {"x": x, "h": h, "w": W}, {"w": x[2].T @ last, "h": np.zeros_like(h)})
    assert any(c == "missing-term" and "in all 3 calls" in w for c, w in said)


def test_one_layer_takes_the_derivative_of_the_next():
    def forward(x, w, v):
        return np.tanh(np.tanh(x @ w) @ v)

    a = np.tanh(X @ W)
    b = np.tanh(a @ V)
    delta = U * (1 - b**2)
    assert "off-by-one-layer" in causes(
        forward, {"x": X, "w": W, "v": V}, {"v": a.T @ delta, "w": X.T @ (delta @ V.T * (1 - b**2))}
    )


def test_only_one_of_several_uses_counts():
    u = RNG.standard_normal((D, D))
    assert "missing-term" in causes(lambda w: w @ w @ w, {"w": W}, {"w": u @ W.T @ W.T}, u)


def test_overlapping_windows_keep_the_last_contribution():
    def forward(x):
        return np.array([x[k : k + 3].sum() for k in range(5)])

    def traced(x):
        return np.stack([x[k : k + 3].sum() for k in range(5)])

    u, x = RNG.standard_normal(5), RNG.standard_normal(7)
    assert np.allclose(forward(x), traced(x))
    want = np.zeros(7)
    for k in range(5):
        want[k : k + 3] = u[k]
    assert "missing-term" in causes(traced, {"x": x}, {"x": want}, u)


def test_a_primal_enters_backward_flipped():
    x, k, u = RNG.standard_normal(8), RNG.standard_normal(3), RNG.standard_normal(6)

    def forward(x, k):
        return np.convolve(x, k, mode="valid")

    net = network(forward, {"x": x, "k": k}, u)
    others = replacements(net, lambda new: network(forward, {"x": x, "k": k, **new}, u))
    want = np.convolve(u, k, mode="full")
    assert any(h.cause == "permuted" and np.allclose(h.gradients["x"], want) for h in others)


def test_a_neighbours_weights_enter_backward():
    def forward(x, w, v):
        return np.tanh(x @ w) @ v

    net = network(forward, {"x": X, "w": W, "v": V})
    others = replacements(net, lambda new: network(forward, {"x": X, "w": W, "v": V, **new}))
    want = X.T @ (U @ W.T * (1 - np.tanh(X @ W) ** 2))
    assert any(h.cause == "off-by-one-layer" and np.allclose(h.gradients["w"], want) for h in others)


def test_torch_code_has_lines_and_activations_too():
    torch = pytest.importorskip("torch")
    from gradverify.tracing.whatif import Network, marked

    leaf = torch.tensor(X, requires_grad=True)
    marks = []
    with marked(marks):
        out = torch.tanh(leaf.clone())
    net = Network({"x": leaf}, {"": out}, {"": torch.tensor(U)}, marks)
    said = [(h.cause, h.words) for h in hypotheses(net) if np.allclose(h.gradients["x"], U)]
    assert any(c == "missing-activation-derivative" and "test_whatif.py" in w for c, w in said)
