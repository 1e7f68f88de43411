"""Every shape of layer and network code that REALCODE.md section 2 counts, each written anew as people write it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import gradverify.adapters.layer as layers

B, N_IN, N_OUT = 5, 4, 3


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N_IN))


@pytest.fixture
def y(rng):
    return rng.standard_normal((B, N_OUT))


def weights(seed=0, shape=(N_IN, N_OUT)):
    return np.random.default_rng(seed).standard_normal(shape)


# A0: no parameters ---


class Tanh:
    def forward(self, x):
        self.out = np.tanh(x)
        return self.out

    def backward(self, dout):
        return dout * (1 - self.out**2)


def test_a_layer_without_parameters(agree, x):
    assert agree(Tanh(), {"x": x}).parameters() == {}


def test_a_class_is_made_into_an_object(agree, x):
    agree(Tanh, {"x": x})


# A1: gradients in attributes ---


class Affine:
    def __init__(self, dw="dW", db="db"):
        self.W, self.b = weights(), np.zeros(N_OUT)
        self.names = dw, db
        for n in self.names:
            setattr(self, n, None)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        setattr(self, self.names[0], self.x.T @ dout)
        setattr(self, self.names[1], dout.sum(axis=0))
        return dout @ self.W.T


@pytest.mark.parametrize("spelling", ["d{}", "{}_grad", "grad_{}", "{}_gradient", "d_{}", "grad{}", "g{}", "nabla_{}"])
def test_gradients_in_attributes_under_every_usual_spelling(agree, x, spelling):
    agree(Affine(spelling.format("W"), spelling.format("b")), {"x": x}, expect={"x", "W", "b"})


def test_lower_case_gradient_names_are_recognised(agree, x):
    agree(Affine("grad_w", "grad_b"), {"x": x}, expect={"x", "W", "b"})


def test_a_layer_that_has_run_before_does_not_offer_its_cache_as_a_parameter(agree, x):
    layer = Affine()
    layer.backward(layer.forward(x))
    agree(layer, {"x": x}, expect={"x", "W", "b"})


def test_an_unusual_gradient_name_is_said_by_keyword(agree, x):
    agree(Affine("first", "second"), {"x": x}, grads={"W": "first", "b": "second"}, expect={"x", "W", "b"})


def test_a_gradient_may_be_computed_from_the_object_by_glue(agree, x):
    agree(Affine("first", "db"), {"x": x}, grads={"W": lambda o: o.first + 0.0}, expect={"x", "W", "b"})


class ValueAndGradDicts:
    def __init__(self):
        self.W = {"val": weights(), "grad": 0}

    def forward(self, x):
        self.x = x
        return x @ self.W["val"]

    def backward(self, dout):
        self.W["grad"] = self.x.T @ dout
        return dout @ self.W["val"].T


def test_a_parameter_that_is_a_dict_of_value_and_gradient(agree, x):
    agree(ValueAndGradDicts(), {"x": x}, expect={"x", "W"})


class Param:
    def __init__(self, data):
        self.data, self.grad = data, None


class ParamObjects:
    def __init__(self):
        self.weight = Param(weights())
        self.bias = Param(np.ones(N_OUT))

    def __call__(self, x):
        self._x = x
        return x @ self.weight.data + self.bias.data

    def backward(self, grad_output):
        self.weight.grad = self._x.T @ grad_output
        self.bias.grad = grad_output.sum(0)
        return grad_output @ self.weight.data.T


def test_parameter_objects_with_data_and_grad(agree, x):
    agree(ParamObjects(), {"x": x}, expect={"x", "weight", "bias"})


# A1 as in "deep learning from scratch": lists params and grads ---


class ListsOfArrays:
    def __init__(self, seed=0, shape=(N_IN, N_OUT)):
        self.params = [weights(seed, shape), np.zeros(shape[1])]
        self.grads = [np.zeros_like(p) for p in self.params]

    def forward(self, x):
        self.x = x
        W, b = self.params
        return x @ W + b

    def backward(self, dout):
        W, _ = self.params
        self.grads[0][...] = self.x.T @ dout
        self.grads[1][...] = dout.sum(0)
        return dout @ W.T


def test_lists_of_parameters_and_gradients_are_zipped(agree, x):
    agree(ListsOfArrays(), {"x": x}, expect={"x", "params.0", "params.1"})


class SoftmaxWithLoss:
    def __init__(self):
        self.params, self.grads = [], []

    def forward(self, x, t):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.p, self.t = e / e.sum(axis=1, keepdims=True), t
        return -np.mean(np.log(self.p[np.arange(len(t)), t]))

    def backward(self, dout=1):
        dx = self.p.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx * dout / len(self.t)


def test_a_loss_layer_whose_upstream_has_a_default(agree, x):
    adapter = agree(SoftmaxWithLoss(), {"x": x}, {"t": np.array([0, 1, 2, 3, 1])})
    assert adapter.traits == {"upstream-optional"}


class TwoLayerNet:
    def __init__(self):
        self.layers = [ListsOfArrays(0, (N_IN, 6)), Tanh(), ListsOfArrays(1, (6, N_OUT))]
        self.loss_layer = SoftmaxWithLoss()
        self.params, self.grads = [], []
        for layer in self.layers:
            self.params += getattr(layer, "params", [])
            self.grads += getattr(layer, "grads", [])

    def predict(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def forward(self, x, t):
        return self.loss_layer.forward(self.predict(x), t)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


def test_a_network_that_collects_the_arrays_of_its_layers(agree, x):
    adapter = agree(TwoLayerNet(), {"x": x}, {"t": np.array([0, 1, 2, 2, 1])})
    assert len(adapter.parameters()) == 4


class GradientMethodNet:
    def __init__(self):
        self.params = {"W1": weights(), "b1": np.zeros(N_OUT)}

    def predict(self, x):
        return np.tanh(x @ self.params["W1"] + self.params["b1"])

    def loss(self, x, t):
        return 0.5 * np.sum((self.predict(x) - t) ** 2)

    def gradient(self, x, t):
        a = self.predict(x)
        delta = (a - t) * (1 - a**2)
        return {"W1": x.T @ delta, "b1": delta.sum(0)}


def test_a_network_with_predict_loss_and_gradient(agree, x, y):
    adapter = agree(GradientMethodNet(), {"x": x}, {"t": y}, without=("x",), expect={"x", "W1", "b1"})
    assert "no-upstream" in adapter.traits


# A2: gradients in a dict ---


class DictsOfArrays:
    def __init__(self):
        self.params = {"w": weights(), "b": np.zeros(N_OUT)}
        self.grads = {}

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.params["w"] + self.params["b"]

    def backward(self, grad):
        self.grads["b"] = np.sum(grad, axis=0)
        self.grads["w"] = self.inputs.T @ grad
        return grad @ self.params["w"].T


def test_gradients_in_a_dict_beside_the_parameters(agree, x):
    agree(DictsOfArrays(), {"x": x}, expect={"x", "w", "b"})


class Container:
    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad):
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad


def test_layers_inside_a_container_are_found_by_their_place(agree, x):
    net = Container(DictsOfArrays(), Tanh(), Affine())
    net.layers[2].W, net.layers[2].b = weights(4, (N_OUT, 2)), np.zeros(2)
    agree(net, {"x": x}, expect={"x", "layers.0.w", "layers.0.b", "layers.2.W", "layers.2.b"})


class OnlyGradsDict:
    def __init__(self):
        self.W = weights()
        self.gradients = {}

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.gradients["dW"] = self.x.T @ dout
        return dout @ self.W.T


def test_an_attribute_with_its_gradient_in_a_dict(agree, x):
    agree(OnlyGradsDict(), {"x": x}, expect={"x", "W"})


# A3: gradients returned ---


class Returns:
    def __init__(self, form):
        self.W, self.b, self.form = weights(), np.zeros((1, N_OUT)), form

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        return self.form(dout @ self.W.T, self.x.T @ dout, dout.sum(0, keepdims=True))


FORMS = {
    "nested list": lambda dx, dW, db: (dx, [dW, db]),
    "tuple": lambda dx, dW, db: (dx, dW, db),
    "swapped": lambda dx, dW, db: (dx, db, dW),
    "tuple and dict": lambda dx, dW, db: (dx, {"dW": dW, "db": db}),
    "dict": lambda dx, dW, db: {"dx": dx, "W": dW, "b": db},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_gradients_in_what_backward_returns(agree, x, form):
    agree(Returns(form), {"x": x}, expect={"x", "W", "b"})


# A4 and C3: updates in place ---


class Updating:
    def __init__(self):
        self.weights, self.bias = weights(), np.zeros(N_OUT)

    def forward(self, x):
        self.input = x
        return x @ self.weights + self.bias

    def backward(self, output_gradient, learning_rate):
        dx = output_gradient @ self.weights.T
        self.weights -= learning_rate * (self.input.T @ output_gradient)
        self.bias = self.bias - learning_rate * output_gradient.sum(0)
        return dx


def test_updates_in_place_are_read_as_a_difference(agree, x):
    agree(Updating(), {"x": x}, expect={"x", "weights", "bias"})


def test_the_pullback_of_an_updating_layer_can_be_called_twice(agree, x):
    adapter = agree(Updating(), {"x": x})
    case = layers.Case(name="c", primals={"x": x, **adapter.parameters()})
    out, pullback = adapter.vjp(case)
    first, second = pullback(out), pullback(out)
    for name, gradient in first.items():
        np.testing.assert_array_equal(gradient, second[name])


class NetworkThatLearns:
    def __init__(self):
        self.w1, self.w2, self.lr = weights(0, (N_IN, 6)), weights(1, (6, N_OUT)), 0.1

    def forward(self, x):
        self.h = np.tanh(x @ self.w1)
        return self.h @ self.w2

    def loss(self, output, y):
        return 0.5 * np.sum((output - y) ** 2)

    def backprop(self, x, y):
        delta = self.forward(x) - y
        d1 = x.T @ ((delta @ self.w2.T) * (1 - self.h**2))
        self.w2 -= self.lr * self.h.T @ delta
        self.w1 -= self.lr * d1


def test_a_network_that_updates_itself_with_its_own_rate(agree, x, y):
    agree(NetworkThatLearns(), {"x": x}, {"y": y}, without=("x",), expect={"x", "w1", "w2"})


class TrainStepOnly:
    def __init__(self):
        self.W = weights()

    def predict(self, X):
        return X @ self.W

    def fit(self, X, y, lr=0.01):
        self.W -= lr * X.T @ (self.predict(X) - y) / len(X)


def test_a_training_step_is_driven_by_saying_its_name_and_the_loss(agree, x, y):
    model = TrainStepOnly()
    agree(
        layers.Layer(model, backward="fit", loss=lambda out, y: 0.5 * np.sum((out - y) ** 2) / len(out)),
        {"X": x}, {"y": y}, without=("X",), expect={"X", "W"},
    )  # fmt: skip


# A5: an optimizer inside the layer ---


class Momentum:
    def __init__(self):
        self.v = None

    def update(self, w, grad):
        self.v = 0.9 * (0 if self.v is None else self.v) + grad
        return w - 0.01 * self.v


class Optimised:
    def __init__(self, opt=Momentum):
        self.W, self.w0 = weights(), np.zeros((1, N_OUT))
        self.W_opt, self.w0_opt = (opt(), opt()) if opt else (None, None)

    def forward_pass(self, X, training=True):
        self.layer_input = X
        return X @ self.W + self.w0

    def backward_pass(self, accum_grad):
        W = self.W
        self.W = self.W_opt.update(self.W, self.layer_input.T @ accum_grad)
        self.w0 = self.w0_opt.update(self.w0, np.sum(accum_grad, axis=0, keepdims=True))
        return accum_grad @ W.T


@pytest.mark.parametrize("opt", [Momentum, None])
def test_gradients_handed_to_an_optimizer_are_recorded(agree, x, opt):
    agree(Optimised(opt), {"X": x}, expect={"X", "W", "w0"})


# A6: everything in attributes ---


class Dense:
    def __init__(self):
        self.weights, self.biases = weights(), np.zeros((1, N_OUT))

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    def backward(self, dvalues):
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        self.dinputs = np.dot(dvalues, self.weights.T)


def test_a_layer_that_returns_nothing_and_keeps_everything(agree, x):
    agree(Dense(), {"inputs": x}, expect={"inputs", "weights", "biases"})


class LossCategoricalCrossentropy:
    def calculate(self, output, y):
        return np.mean(self.forward(output, y))

    def forward(self, y_pred, y_true):
        return -np.log(y_pred[np.arange(len(y_pred)), y_true])

    def backward(self, dvalues, y_true):
        samples = len(dvalues)
        self.dinputs = -np.eye(dvalues.shape[1])[y_true] / dvalues / samples


def test_a_loss_whose_dvalues_are_the_predictions(agree, rng):
    p = rng.uniform(0.1, 0.9, (B, N_OUT))
    adapter = agree(LossCategoricalCrossentropy(), {"y_pred": p}, {"y_true": np.array([0, 1, 2, 2, 0])})
    assert adapter.traits == {"no-upstream"}


class SoftmaxAndLoss:
    def forward(self, scores, y_true):
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        self.output = e / e.sum(axis=1, keepdims=True)
        return -np.mean(np.log(self.output[np.arange(len(scores)), y_true]))

    def backward(self, dvalues, y_true):
        samples = len(dvalues)
        self.dinputs = (dvalues - np.eye(dvalues.shape[1])[y_true]) / samples


def test_a_softmax_with_its_loss_whose_dvalues_are_what_it_put_out(agree, rng):
    agree(SoftmaxAndLoss(), {"scores": rng.standard_normal((B, N_OUT))}, {"y_true": np.array([0, 1, 2, 2, 0])})


# E2: activation and loss objects ---


class Sigmoid:
    def __call__(self, x):
        return 1 / (1 + np.exp(-x))

    def gradient(self, x):
        return self.__call__(x) * (1 - self.__call__(x))


def test_an_activation_object_with_a_gradient_of_its_input(agree, x):
    agree(Sigmoid(), {"x": x})


class SquareLoss:
    def loss(self, y, y_pred):
        return 0.5 * np.power(y - y_pred, 2)

    def gradient(self, y, y_pred):
        return -(y - y_pred)


@pytest.mark.parametrize("names", [("y_pred", "y"), ("p", "t")], ids=str)
def test_a_loss_object_whose_target_comes_first(agree, x, y, names):
    agree(SquareLoss(), {names[0]: y + 1}, {names[1]: y * 2})


class MeanSquared:
    def forward(self, pred, target):
        self.diff = pred - target
        return np.mean(self.diff**2)

    def backward(self):
        return 2 * self.diff / self.diff.size


def test_a_loss_object_whose_backward_takes_nothing(agree, y):
    assert agree(MeanSquared(), {"pred": y + 1}, {"target": y}).traits == {"no-upstream"}


# C1, C2, C5: networks with the loss inside ---


class LossInside:
    def __init__(self):
        self.W1, self.W2 = weights(0, (N_IN, 6)), weights(1, (6, N_OUT))

    def forward(self, X):
        self.a = np.tanh(X @ self.W1)
        self.out = self.a @ self.W2
        return self.out

    def loss(self, y):
        return np.sum((self.out - y) ** 2) / (2 * len(y))

    def backward(self, X, y):
        delta = (self.out - y) / len(y)
        self.dW2 = self.a.T @ delta
        self.dW1 = X.T @ ((delta @ self.W2.T) * (1 - self.a**2))


def test_a_network_whose_backward_takes_the_targets(agree, x, y):
    agree(LossInside(), {"X": x}, {"y": y}, without=("X",), expect={"X", "W1", "W2"})


class MSE:
    @staticmethod
    def fn(a, y):
        return 0.5 * np.sum((a - y) ** 2)


class PerExample:
    """Column vectors, lists of biases and weights, and (nabla_b, nabla_w)."""

    def __init__(self, sizes=(4, 3, 2)):
        self.sizes = sizes
        self.biases = [weights(i, (n, 1)) for i, n in enumerate(sizes[1:])]
        self.weights = [weights(9 + i, (n, m)) for i, (m, n) in enumerate(pairwise(sizes))]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights, strict=True):
            a = np.tanh(w @ a + b)
        return a

    def backprop(self, x, y):
        activations = [x]
        for b, w in zip(self.biases, self.weights, strict=True):
            activations.append(np.tanh(w @ activations[-1] + b))
        nabla_b, nabla_w = [None] * 2, [None] * 2
        delta = (activations[-1] - y) * (1 - activations[-1] ** 2)
        for i in (1, 0):
            nabla_b[i], nabla_w[i] = delta, delta @ activations[i].T
            delta = (self.weights[i].T @ delta) * (1 - activations[i] ** 2)
        return nabla_b, nabla_w


def test_lists_of_gradients_are_matched_with_lists_of_parameters(agree, rng):
    primals, constants = {"x": rng.standard_normal((4, 1))}, {"y": rng.standard_normal((2, 1))}
    names = {"x", "biases.0", "biases.1", "weights.0", "weights.1"}
    agree(PerExample(), primals, constants, without=("x",), loss=lambda out, y: MSE.fn(out, y), expect=names)


def test_a_loss_class_kept_on_the_network_is_used(agree, rng):
    net = PerExample()
    net.cost = MSE
    agree(net, {"x": rng.standard_normal((4, 1))}, {"y": rng.standard_normal((2, 1))}, without=("x",))


# states and conventions ---


class Accumulating(Affine):
    def __init__(self):
        super().__init__()
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def backward(self, dout):
        self.dW += self.x.T @ dout
        self.db += dout.sum(0)
        return dout @ self.W.T


def test_an_accumulating_layer_says_so_and_every_pullback_starts_afresh(agree, x):
    adapter = agree(Accumulating(), {"x": x})
    assert adapter.traits == {"accumulates"}
    out, pullback = adapter.vjp(layers.Case(name="c", primals={"x": x, **adapter.parameters()}))
    np.testing.assert_array_equal(pullback(out)["W"].copy(), pullback(out)["W"])


class Shared:
    """One array used by two layers of the same kind, each with its own gradient."""

    def __init__(self):
        square = weights(0, (N_IN, N_IN))
        self.first, self.second = Affine(), Affine()
        for layer in (self.first, self.second):
            layer.W, layer.b = square, np.zeros(N_IN)

    def forward(self, x):
        return self.second.forward(np.tanh(self.first.forward(x)))

    def backward(self, dout):
        dout = self.second.backward(dout)
        return self.first.backward(dout * (1 - np.tanh(self.first.x @ self.first.W + self.first.b) ** 2))


def test_the_gradient_of_a_shared_array_is_the_sum(agree, x):
    agree(Shared(), {"x": x})


class Dropout:
    def forward(self, x, train_flg=True):
        self.mask = np.random.rand(*x.shape) > 0.5  # noqa: NPY002 - user code draws from the global generator
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


def test_a_random_mask_repeats_itself_and_leaves_the_callers_generator_alone(agree, x):
    np.random.seed(7)  # noqa: NPY002 - user code draws from the global generator
    want = np.random.rand(3)  # noqa: NPY002 - user code draws from the global generator
    np.random.seed(7)  # noqa: NPY002 - user code draws from the global generator
    agree(Dropout(), {"x": x})
    np.testing.assert_array_equal(np.random.rand(3), want)  # noqa: NPY002 - user code draws from the global generator


class RunningMean:
    def __init__(self):
        self.gamma, self.running = np.ones(N_IN) * 1.5, np.zeros(N_IN)

    def forward(self, x):
        self.running = 0.9 * self.running + 0.1 * x.mean(0)
        self.x = x
        return self.gamma * (x - self.running)

    def backward(self, dout):
        self.dgamma = (dout * (self.x - self.running)).sum(0)
        return self.gamma * (dout - 0.1 * dout.mean(0))


def test_running_statistics_neither_leak_nor_count_as_parameters(agree, x):
    layer = RunningMean()
    agree(layer, {"x": x}, expect={"x", "gamma"})
    np.testing.assert_array_equal(layer.running, np.zeros(N_IN))


class Recurrent:
    def forward(self, x, h):
        self.saved = x, h
        return np.tanh(x + h), x * h

    def backward(self, dnext, dside):
        x, h = self.saved
        dz = dnext * (1 - np.tanh(x + h) ** 2)
        return dz + dside * h, dz + dside * x


def test_a_layer_with_two_outputs_takes_two_upstreams(agree, x):
    agree(Recurrent(), {"x": x, "h": x[::-1].copy()})


class UpdateOutput:
    def updateOutput(self, inpt):
        return np.tanh(inpt)

    def updateGradInput(self, inpt, gradOutput):
        return gradOutput * (1 - np.tanh(inpt) ** 2)


def test_torch7_style_method_names(agree, x):
    agree(UpdateOutput(), {"inpt": x})


def test_a_layer_is_never_changed_by_being_driven(agree, x):
    layer = Updating()
    before = layer.weights.copy()
    agree(layer, {"x": x})
    np.testing.assert_array_equal(layer.weights, before)
    assert not hasattr(layer, "input")
