"""Two functions, or one that returns the loss and its gradients, in the signatures that people give them."""

from __future__ import annotations

import numpy as np
import pytest

from gradverify.adapters._adapt import adapt
from gradverify.adapters.functions import Functions
from gradverify.adapters.value_and_grad import ValueAndGrad
from gradverify.errors import AdapterError
from gradverify.types import Case


def forward(x, W, b):
    return np.tanh(x) @ W + b, (x, W)


def pulled(g, x, W):
    t = np.tanh(x)
    return (g @ W.T) * (1 - t**2), t.T @ g, g.sum(0)


def plain(x, W, b):
    return np.tanh(x) @ W + b


@pytest.fixture
def primals(rng):
    return {"x": rng.standard_normal((5, 4)), "W": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}


def by(*keys):
    """A backward that returns a mapping under these names."""
    return lambda dout, cache: dict(zip(keys, pulled(dout, *cache), strict=True))


PAIRS = {
    "upstream, cache": (forward, lambda dout, cache: pulled(dout, *cache)),
    "cache, upstream": (forward, lambda cache, dout: pulled(dout, *cache)),
    "any two names": (forward, lambda first, second: pulled(first, *second)),
    "ctx": (forward, lambda ctx, grad_output: pulled(grad_output, *ctx)),
    "*cache": (forward, lambda dout, *cache: pulled(dout, *cache)),
    "primals after": (plain, lambda g, x, W, b: pulled(g, x, W)),
    "primals before": (plain, lambda x, W, b, delta: pulled(delta, x, W)),
    "other names for the primals": (plain, lambda g, a, B, c: pulled(g, a, B)),
    "cache is a dict of names": (
        lambda x, W, b: (plain(x, W, b), {"inp": x, "w": W}),
        lambda dy, inp, w: pulled(dy, inp, w),
    ),
    "mapping": (forward, by("x", "W", "b")),
    "d prefix": (forward, by("dx", "dW", "db")),
    "grad suffix": (forward, by("x_grad", "W_grad", "b_grad")),
    "grad prefix": (forward, by("grad_x", "grad_W", "grad_b")),
    "nested": (forward, lambda dout, cache: (pulled(dout, *cache)[0], list(pulled(dout, *cache)[1:]))),
    "kwargs": (lambda **p: plain(**p), lambda g, x, W, b: pulled(g, x, W)),
    "args": (lambda *p: plain(*p), lambda g, x, W, b: pulled(g, x, W)),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_pairs_of_functions(agree, primals, pair):
    assert isinstance(agree(pair, primals), Functions)


@pytest.mark.parametrize("order", ["xWb", "bWx", "Wxb"])
def test_the_primals_may_be_given_in_another_order_than_the_functions(agree, primals, order):
    agree((forward, PAIRS["upstream, cache"][1]), {k: primals[k] for k in order})


def test_primals_under_other_names_go_by_position(agree, primals):
    agree((forward, PAIRS["upstream, cache"][1]), dict(zip(("A", "B", "C"), primals.values(), strict=True)))


def test_the_output_is_handed_to_a_backward_that_asks_for_it(agree, primals):
    agree((np.tanh, lambda g, out: g * (1 - out**2)), {"x": primals["x"]})


def test_constants_reach_forward_and_backward_by_name(agree, primals):
    def scale(x, k):
        return x * k

    agree((scale, lambda g, k: g * k), {"x": primals["x"]}, {"k": 3.0})


def linear_activation_forward(A_prev, W, b, activation):
    Z = A_prev @ W + b
    return (np.tanh(Z) if activation == "tanh" else Z), ((A_prev, W), Z)


def linear_activation_backward(dA, cache, activation):
    (A, W), Z = cache
    dZ = dA * (1 - np.tanh(Z) ** 2) if activation == "tanh" else dA
    return dZ @ W.T, A.T @ dZ, dZ.sum(0)


def test_a_course_exercise_with_a_cache_and_a_setting(agree, primals):
    renamed = {"A_prev": primals["x"], "W": primals["W"], "b": primals["b"]}
    agree((linear_activation_forward, linear_activation_backward), renamed, {"activation": "tanh"})


def lstm_like(x, h):
    return np.tanh(x + h), x * h, (x, h)


def lstm_like_backward(dnext_h, dnext_c, cache):
    x, h = cache
    dz = dnext_h * (1 - np.tanh(x + h) ** 2)
    return dz + dnext_c * h, dz + dnext_c * x


def test_several_upstreams_mean_several_outputs_named_after_them(agree, rng):
    primals = {"x": rng.standard_normal(4), "h": rng.standard_normal(4)}
    adapter = agree((lstm_like, lstm_like_backward), primals)
    assert set(adapter.evaluate(Case(name="c", primals=primals))) == {"next_h", "next_c"}


def sigmoid(z, derivative=False):
    s = 1 / (1 + np.exp(-z))
    return s * (1 - s) if derivative else s


def f(z):
    return 1 / (1 + np.exp(-z))


DERIVATIVES = {
    "of z": (f, lambda z: f(z) * (1 - f(z))),
    "of a": (f, lambda a: a * (1 - a)),
    "flag": sigmoid,
}


@pytest.mark.parametrize("subject", DERIVATIVES.values(), ids=DERIVATIVES)
def test_an_elementwise_derivative_is_multiplied_by_the_upstream(agree, primals, subject):
    assert agree(subject, {"z": primals["x"]}).traits == {"no-upstream"}


def test_whether_a_derivative_takes_the_output_can_be_said(agree, primals):
    agree(Functions(f, lambda t: t * (1 - t), of="output"), {"z": primals["x"]})


def test_an_integer_primal_needs_no_gradient(agree, primals):
    def pick(W, rows):
        return W[rows], (rows, W.shape)

    def pick_backward(dout, cache):
        dW = np.zeros(cache[1])
        np.add.at(dW, cache[0], dout)
        return dW

    agree((pick, pick_backward), {"W": primals["W"], "rows": np.array([0, 2, 2])})


def test_user_code_gets_the_upstream_and_gives_its_gradients_as_they_are(primals):
    seen = []

    def backward(dout, cache):
        seen.append(dout)
        seen.append(dout * 2)
        return seen[1]

    out, pullback = Functions(lambda x: (2 * x, None), backward).vjp(Case(name="c", primals={"x": primals["x"]}))
    upstream = np.ones_like(out)
    got = pullback(upstream)["x"]
    assert seen[0] is upstream
    assert got is seen[1]


def test_the_case_is_never_written_to(primals):
    case = Case(name="c", primals={"x": primals["x"]})

    def forward(x):
        x *= 2
        return x, None

    Functions(forward, lambda g, cache: 2 * g).vjp(case)
    np.testing.assert_array_equal(case.primals["x"], primals["x"])


def loss(x, W, y):
    out = x @ W - y
    return 0.5 * np.sum(out**2), out @ W.T, x.T @ out


RETURNS = {
    "mapping": lambda value, dx, dW: (value, {"x": dx, "W": dW}),
    "d prefix": lambda value, dx, dW: (value, {"dW": dW, "dx": dx, "dout": 1.0}),
    "tuple": lambda value, dx, dW: (value, (dx, dW)),
    "list": lambda value, dx, dW: (value, [dx, dW]),
    "flat": lambda value, dx, dW: (value, dx, dW),
}


@pytest.mark.parametrize("form", RETURNS.values(), ids=RETURNS)
def test_one_function_returns_the_loss_and_its_gradients(agree, primals, rng, form):
    two = {"x": primals["x"], "W": primals["W"]}
    adapter = agree(lambda x, W, y: form(*loss(x, W, y)), two, {"y": rng.standard_normal((5, 3))})
    assert isinstance(adapter, ValueAndGrad)
    assert adapter.traits == {"no-upstream"}


def test_the_gradient_of_one_primal_needs_no_tuple(agree, primals):
    agree(lambda x: (np.sum(x**2), 2 * x), {"x": primals["x"]})


class FullyConnected:
    """``loss(X, y)`` gives the loss and the gradients by the names of ``params``; without ``y`` the scores."""

    def __init__(self):
        self.params = {"W1": np.random.default_rng(0).standard_normal((4, 3)), "b1": np.zeros(3)}
        self.reg = 0.1

    def loss(self, X, y=None):
        scores = X @ self.params["W1"] + self.params["b1"]
        if y is None:
            return scores
        value = 0.5 * np.sum((scores - y) ** 2) + 0.5 * self.reg * np.sum(self.params["W1"] ** 2)
        return value, {"W1": X.T @ (scores - y) + self.reg * self.params["W1"], "b1": (scores - y).sum(0)}


@pytest.mark.parametrize("subject", [FullyConnected(), FullyConnected().loss], ids=["object", "bound method"])
def test_a_network_with_params_and_a_loss_that_returns_gradients(agree, primals, rng, subject):
    names = {"X", "W1", "b1"}
    agree(subject, {"X": primals["x"]}, {"y": rng.standard_normal((5, 3))}, without=("X",), expect=names)


def test_a_network_is_driven_with_its_data_as_constants(agree, primals, rng):
    constants = {"X": primals["x"], "y": rng.standard_normal((5, 3))}
    agree(FullyConnected().loss, {}, constants, expect={"W1", "b1"})


def test_a_network_gives_no_gradient_for_what_it_is_fed(primals, rng):
    adapter = adapt(FullyConnected(), {"X": primals["x"]}, constants={"y": rng.standard_normal((5, 3))})
    assert adapter.unfed == {"X"}


def mse(y_true, y_pred):
    return np.mean((y_true - y_pred) ** 2)


def mse_prime(y_true, y_pred):
    return 2 * (y_pred - y_true) / np.size(y_true)


def cost(a, y):
    return np.mean((a - y) ** 2)


def cost_derivative(output_activations, y):
    return (output_activations - y) * 2 / y.size


LOSSES = {
    "same names": (mse, mse_prime, "y_pred", "y_true"),
    "derivative by name": (cost, cost_derivative, "a", "y"),
}


@pytest.mark.parametrize(("fn", "prime", "prediction", "target"), LOSSES.values(), ids=LOSSES)
def test_a_loss_and_its_derivative_take_the_same_two_arrays(agree, primals, rng, fn, prime, prediction, target):
    adapter = agree((fn, prime), {prediction: primals["x"]}, {target: rng.standard_normal((5, 4))})
    assert adapter.traits == {"no-upstream"}


def test_an_elementwise_function_of_two_arguments_and_its_derivative(agree, primals):
    def leaky(x, alpha):
        return np.where(x > 0, x, alpha * x)

    agree((leaky, lambda x, alpha: np.where(x > 0, 1.0, alpha)), {"x": primals["x"]}, {"alpha": 0.1})


def test_a_constant_called_cache_is_not_the_cache_of_the_backward(agree, primals):
    def backward(dout, cache):
        _, a, _ = cache
        return dout * a

    pair = (lambda x, cache: (x * cache[0], (x, cache[0], 3)), backward)
    agree(pair, {"x": primals["x"]}, {"cache": (2.0, 1.0)})


def test_a_cache_that_comes_before_other_returned_values(agree, primals):
    def forward(x, gamma):
        mean = x.mean(0)
        return gamma * x, (x, gamma), mean, mean**2

    def backward(dout, cache):
        x, gamma = cache
        return dout * gamma, (dout * x).sum(0)

    agree((forward, backward), {"x": primals["x"], "gamma": np.ones(4)})


def test_a_cache_of_several_returned_values(agree, primals):
    def backward(dout, cache):
        x, gamma, _ = cache
        return dout * gamma, (dout * x).sum(0)

    agree((lambda x, gamma: (gamma * x, x, gamma, 3), backward), {"x": primals["x"], "gamma": np.ones(4)})


def test_a_setting_reaches_the_backward_that_has_a_default_for_it(agree, primals):
    def penalty(W, lam=1e-3):
        return 0.5 * lam * np.sum(W * W)

    def penalty_prime(W, lam=1e-3):
        return lam * W

    agree((penalty, penalty_prime), {"W": primals["W"]}, {"lam": 0.1})


def test_a_forward_that_returns_no_cache_says_so(primals):
    with_cache, without = Functions(forward, PAIRS["upstream, cache"][1]), Functions(plain, PAIRS["primals after"][1])
    for adapter in (with_cache, without):
        adapter.vjp(Case(name="c", primals=primals))
    assert with_cache.returns_cache
    assert not without.returns_cache


def test_a_scalar_upstream_is_handed_over_as_a_number(primals):
    def backward(dout, cache):
        dout *= 2
        return dout * cache

    _, pullback = Functions(lambda x: (np.sum(x**2), x), backward).vjp(Case(name="c", primals={"x": primals["x"]}))
    upstream = np.array(3.0)
    np.testing.assert_array_equal(pullback(upstream)["x"], 6 * primals["x"])
    assert upstream == 3.0


def net_forward(X, Y, parameters):
    hidden = np.tanh(X @ parameters["W1"] + parameters["b1"])
    return np.mean((hidden @ parameters["W2"] - Y) ** 2), (hidden, parameters)


def net_backward(X, Y, cache):
    hidden, parameters = cache
    dout = 2 * (hidden @ parameters["W2"] - Y) / Y.size
    dZ1 = (dout @ parameters["W2"].T) * (1 - hidden**2)
    return {"dW2": hidden.T @ dout, "dZ1": dZ1, "dW1": X.T @ dZ1, "db1": dZ1.sum(0)}


def net_backward_with_parameters(parameters, cache, X, Y):
    return net_backward(X, Y, (cache[0], parameters))


@pytest.mark.parametrize("backward", [net_backward, net_backward_with_parameters])
def test_parameters_go_together_into_one_dict(agree, rng, backward):
    primals = {k: rng.standard_normal(s) for k, s in {"W1": (4, 6), "b1": (6,), "W2": (6, 3)}.items()}
    data = {"X": rng.standard_normal((5, 4)), "Y": rng.standard_normal((5, 3))}
    assert agree((net_forward, backward), primals, data).traits == {"no-upstream"}


def test_gradients_may_come_before_the_cost(agree, rng):
    def propagate(w, b, X, Y):
        residual = w.T @ X + b - Y
        return {"dw": 2 * X @ residual.T, "db": 2 * np.sum(residual)}, np.sum(residual**2)

    primals = {"w": rng.standard_normal((3, 1)), "b": np.array(0.3)}
    agree(propagate, primals, {"X": rng.standard_normal((3, 7)), "Y": rng.standard_normal((1, 7))})


def test_a_state_after_the_gradients_is_left_alone(agree, primals):
    def loss_fun(x, W):
        return np.sum(np.tanh(x) @ W), *pulled(np.ones((5, 3)), x, W)[:2], x[-1]

    agree(loss_fun, {"x": primals["x"], "W": primals["W"]})


def sigmoid_derivative(values):
    return values * (1 - values)


OF_THE_OUTPUT = {
    "another name": (f, sigmoid_derivative),
    "a ufunc": (np.tanh, lambda values: 1 - values**2),
    "a flag": lambda x, deriv=False: x * (1 - x) if deriv else f(x),
}


@pytest.mark.parametrize("subject", OF_THE_OUTPUT.values(), ids=OF_THE_OUTPUT)
def test_whether_a_derivative_takes_the_output_is_tried(agree, primals, subject):
    adapter = agree(subject, {"x": primals["x"]})
    assert "takes the output" in adapter.notes[0]


@pytest.mark.parametrize("slope", [lambda z: f(z) * (1 + f(z)), lambda z: z * (1 - z)], ids=["sign", "of the output"])
def test_a_wrong_derivative_of_the_same_argument_stays_wrong(primals, slope):
    case = Case(name="c", primals={"z": primals["x"]})
    out, pullback = Functions(f, slope).vjp(case)
    np.testing.assert_array_equal(pullback(np.ones_like(out))["z"], slope(primals["x"]))


def test_a_backward_with_one_argument_of_any_name_is_no_derivative_if_it_is_none(agree, primals):
    kept = {}

    def forward(x):
        kept["x"] = x
        return x**3

    agree((forward, lambda d: 3 * kept["x"] ** 2 * d), {"x": primals["x"]})


def test_a_derivative_may_be_a_number(agree, primals):
    agree(lambda x, derivative=False: 1 if derivative else x * 1.0, {"x": primals["x"]})


def test_a_cache_may_come_after_what_else_a_forward_returns(agree, primals):
    def forward(x, W):
        weights = np.tanh(x)
        return weights @ W, weights, (x, W)

    agree((forward, lambda dout, cache: pulled(dout, *cache)[:2]), {k: primals[k] for k in ("x", "W")})


TWO_OF_THEM = {
    "a mapping beside it": lambda dx, dW: (dx, {"W": dW}),
    "a mapping with a prefix": lambda dx, dW: (dx, {"dW": dW}),
    "a list of one": lambda dx, dW: (dx, [dW]),
    "lists of one": lambda dx, dW: [[dx], [dW]],
}


@pytest.mark.parametrize("form", TWO_OF_THEM.values(), ids=TWO_OF_THEM)
def test_the_gradients_of_parameters_may_come_in_a_container_beside_the_others(agree, primals, form):
    def backward(dout, cache):
        return form(*pulled(dout, *cache)[:2])

    agree((lambda x, W: (np.tanh(x) @ W, (x, W)), backward), {k: primals[k] for k in ("x", "W")})


def elu(z, deriv=False, alpha=1.0):
    return np.where(z > 0, 1.0, alpha * np.exp(z)) if deriv else np.where(z > 0, z, alpha * (np.exp(z) - 1))


@pytest.mark.parametrize("constants", [{}, {"alpha": 0.7}])
def test_a_setting_after_the_flag_of_a_derivative_is_the_same_in_function_and_derivative(agree, primals, constants):
    agree(elu, {"z": primals["x"]}, constants)


def centred(x):
    x = x - x.mean(axis=0)
    return x**3, x


def test_a_cache_goes_to_the_parameter_that_is_called_like_the_primal_it_was_made_from(agree, primals):
    def backward(dout, x):
        dx = 3 * x**2 * dout
        return dx - dx.mean(axis=0)

    agree((centred, backward), {"x": primals["x"]})


def test_a_backward_that_is_right_with_the_primal_alone_is_handed_the_primal(agree, primals):
    def backward(dout, x):
        dx = 3 * (x - x.mean(axis=0)) ** 2 * dout
        return dx - dx.mean(axis=0)

    agree((lambda x: (centred(x)[0], np.tanh(x)), backward), {"x": primals["x"]})


def test_several_cached_values_go_to_the_parameters_that_are_called_like_their_primals(agree, primals):
    def forward(x, W):
        x = np.tanh(x)
        return x @ W, (x, W)

    agree((forward, lambda dout, x, W: ((dout @ W.T) * (1 - x**2), x.T @ dout)), {k: primals[k] for k in ("x", "W")})


def test_a_cache_that_was_rounded_is_no_primal(primals):
    def forward(x):
        return np.sin(x), x.astype(np.float16)

    def backward(dout, x):
        return dout * np.cos(x.astype(float))

    case = Case(name="c", primals={"x": primals["x"]})
    out, pullback = Functions(forward, backward).vjp(case)
    assert pullback(np.ones_like(out))["x"].tolist() == np.cos(primals["x"].astype(np.float16).astype(float)).tolist()


def test_a_target_is_told_from_a_prediction_by_its_name(agree, primals, rng):
    def call(true, predicted):
        return np.mean((true - predicted) ** 2)

    def derivative(true, predicted):
        return 2 * (predicted - true) / true.size

    agree((call, derivative), {"y_pred": primals["x"]}, {"y_true": rng.standard_normal((5, 4)) + 3})


def test_a_function_of_keywords_alone_returns_its_gradients_in_the_order_of_the_primals(agree, primals):
    def loss_fun(**p):
        return np.sum(np.tanh(p["x"]) @ p["W"]), *pulled(np.ones((5, 3)), p["x"], p["W"])[:2]

    agree(loss_fun, {"x": primals["x"], "W": primals["W"]})


def test_a_tensor_of_another_engine_points_to_the_tape(primals):
    class Variable:
        grad = None

        def backward(self):
            raise NotImplementedError

    with pytest.raises(AdapterError, match=r"gv.tape\(f, wrap=Variable\)"):
        ValueAndGrad(lambda x: Variable()).evaluate(Case(name="c", primals={"x": primals["x"]}))
