"""Networks and layers of public repositories whose gradients are found in unusual places, each written anew."""

from __future__ import annotations

import numpy as np
import pytest

from gradverify.adapters._adapt import adapt
from gradverify.adapters.layer import Layer
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Case, Run


@pytest.fixture
def x(rng):
    return rng.standard_normal((5, 4))


@pytest.fixture
def t(rng):
    return rng.standard_normal((5, 3))


def weights(*shape):
    return np.random.default_rng(0).standard_normal(shape)


class Affine:
    def __init__(self, W):
        self.W = W

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class Regularised:
    """The same array in ``params`` and in a layer; ``gradient`` returns the penalty too, the layer's dW has none."""

    def __init__(self):
        self.lam, self.params = 0.3, {"W1": weights(4, 3)}
        self.layers = {"first": Affine(self.params["W1"])}

    def loss(self, x, t):
        self.y = self.layers["first"].forward(x)
        return 0.5 * np.sum((self.y - t) ** 2) + 0.5 * self.lam * np.sum(self.params["W1"] ** 2)

    def gradient(self, x, t):
        self.loss(x, t)
        self.layers["first"].backward(self.y - t)
        return {"W1": self.layers["first"].dW + self.lam * self.layers["first"].W}


def test_a_returned_mapping_wins_over_what_is_left_on_layers_inside(agree, x, t):
    adapter = agree(Regularised(), {"x": x}, {"t": t}, without=("x",), expect={"x", "W1"})
    assert adapter.unfed == {"x"}


class Returning:
    """Two layers that leave their gradients on the object and return the same arrays; none for the input."""

    def __init__(self):
        self.w1, self.w2 = weights(4, 6), weights(6, 3)

    def forward(self, X):
        self.h = np.tanh(X @ self.w1)
        return self.h @ self.w2

    def loss(self, X, y):
        self.out = self.forward(X)
        return 0.5 * np.mean((self.out - y) ** 2)

    def backward(self, X, y):
        d = (self.out - y) / y.size
        self.dw2 = self.h.T @ d
        self.dw1 = X.T @ ((d @ self.w2.T) * (1 - self.h**2))
        return self.dw1, self.dw2


def test_returned_arrays_that_are_left_on_the_object_are_no_gradient_of_the_input(agree, x, t):
    adapter = agree(Returning(), {"X": x}, {"y": t}, without=("X",), expect={"X", "w1", "w2"})
    assert adapter.unfed == {"X"}


def test_a_network_is_driven_with_its_data_as_constants(agree, x, t):
    agree(Regularised(), {}, {"x": x, "t": t}, expect={"W1"})


def test_momentum_under_the_names_of_the_parameters_is_no_parameter(agree, x, t):
    class WithMomentum(Regularised):
        def __init__(self):
            super().__init__()
            self.a_velocity = {"W1": np.zeros((4, 3))}

    agree(WithMomentum(), {}, {"x": x, "t": t}, expect={"W1"})


def test_a_returned_mapping_that_the_network_keeps_counts_as_left_on_it(x, t):
    class Keeps(Regularised):
        def gradient(self, x, t):
            self.grads = super().gradient(x, t)
            return self.grads

    adapter = adapt(Keeps(), {}, constants={"x": x, "t": t})
    assert adapter.stored == {"W1"}


def test_a_backward_that_runs_its_own_forward_is_not_asked_for_two_forwards(x, t):
    adapter = adapt(Regularised(), {"x": x}, constants={"t": t})
    case = Case(name="c", primals={"x": x, **adapter.parameters()}, constants={"t": t})
    out, pullback = adapter.vjp(case)
    run = Run(given={}, constants={}, out=out, pullback=pullback)
    with pytest.raises(Unsupported, match="gradient takes the inputs itself"):
        adapter.again(run, case)


class FirstLayer:
    """The first layer of a network: it learns, and returns nothing since nobody is below."""

    def __init__(self):
        self.filters = weights(4, 3)

    def forward(self, image):
        self.last = image
        return np.tanh(image @ self.filters)

    def backprop(self, d_out, learn_rate):
        self.filters -= learn_rate * self.last.T @ (d_out * (1 - np.tanh(self.last @ self.filters) ** 2))


def test_a_first_layer_offers_no_gradient_of_its_input(agree, x):
    assert agree(FirstLayer(), {"image": x}, without=("image",), expect={"image", "filters"}).unfed == {"image"}


def test_a_first_layer_with_its_input_as_a_constant(agree, x):
    agree(FirstLayer(), {}, {"image": x}, expect={"filters"})


def test_none_beside_other_gradients_is_no_refusal(x):
    class Forgets(Affine):
        def backward(self, dout):
            return None, self.x.T @ dout

    assert adapt(Forgets(weights(4, 3)), {"x": x}).unfed == frozenset()


@pytest.mark.parametrize("form", [lambda dx, dW: (dx, dW), lambda dx, dW: (dx, {"W": dW})], ids=["tuple", "dict"])
def test_a_layer_with_its_input_as_a_constant(agree, x, form):
    class Returns(Affine):
        def backward(self, dout):
            return form(dout @ self.W.T, self.x.T @ dout)

    agree(Returns(weights(4, 3)), {}, {"x": x}, expect={"W"})


class ScaleShift:
    """Two parameters of one shape, each with an optimizer of its own."""

    def __init__(self, optimizer):
        self.gamma, self.beta = np.ones(4), np.full(4, 0.5)
        self.gamma_opt, self.beta_opt = optimizer(), optimizer()

    def forward(self, x):
        self.x = x
        return x * self.gamma + self.beta

    def backward(self, dout):
        gamma = self.gamma
        self.gamma = self.gamma_opt.update(self.gamma, (dout * self.x).sum(0))
        self.beta = self.beta_opt.update(self.beta, dout.sum(0))
        return dout * gamma


class Descent:
    def update(self, w, g):
        return w - 0.1 * g


def test_the_record_of_an_optimizer_tells_parameters_apart_that_are_one_array(x):
    adapter = adapt(ScaleShift(Descent), {"x": x})
    both = np.ones(4)

    class Twice(Case):
        def thawed(self):
            return {**super().thawed(), "gamma": both, "beta": both}

    case = Twice(name="c", primals={"x": x, "gamma": both, "beta": both})
    out, pullback = adapter.vjp(case)
    got = pullback(np.ones_like(out))
    np.testing.assert_allclose(got["gamma"], x.sum(0))
    np.testing.assert_allclose(got["beta"], np.full(4, 5.0))


class OneOptimizer(ScaleShift):
    def __init__(self):
        super().__init__(Descent)
        self.optimizer = Descent()
        self.gamma_opt = self.beta_opt = None

    def backward(self, dout):
        gamma = self.gamma
        self.gamma = self.optimizer.update(self.gamma, (dout * self.x).sum(0))
        self.beta = self.optimizer.update(self.beta, dout.sum(0))
        return dout * gamma


def test_a_record_that_cannot_tell_two_parameters_apart_says_so(x):
    adapter = adapt(OneOptimizer(), {"x": x})
    both = np.ones(4)

    class Twice(Case):
        def thawed(self):
            return {**super().thawed(), "gamma": both, "beta": both}

    out, pullback = adapter.vjp(Twice(name="c", primals={"x": x, "gamma": both, "beta": both}))
    with pytest.raises(Unsupported, match="gamma and beta are one array"):
        pullback(out)


class Remembers(Descent):
    def __init__(self):
        self.cache = {"steps": 2.0}


def test_what_a_layer_reads_from_its_optimizer_is_still_there(agree, x):
    class Reads(ScaleShift):
        def backward(self, dout):
            assert self.gamma_opt.cache["steps"] == 2.0
            return super().backward(dout)

    agree(Reads(Remembers), {"x": x}, expect={"x", "gamma", "beta"})


class Embedding:
    def __init__(self, W):
        self.params, self.grads = [W], [np.zeros_like(W)]

    def forward(self, h):
        self.h = h
        return h @ self.params[0]

    def backward(self, dout):
        self.grads[0][...] = self.h.T @ dout
        return dout @ self.params[0].T


class SharedInLists:
    """One array in the lists of two layers, which are the lists of the network too."""

    def __init__(self):
        W = weights(4, 3)
        self.layers = [Embedding(W), Embedding(W)]
        self.params, self.grads = [], []
        for layer in self.layers:
            self.params += layer.params
            self.grads += layer.grads

    def forward(self, h):
        return self.layers[0].forward(h) + 2 * self.layers[1].forward(h[::-1])

    def backward(self, dout):
        return self.layers[0].backward(dout) + self.layers[1].backward(2 * dout)[::-1]


def test_the_gradient_of_an_array_shared_through_lists_is_the_sum(agree, x):
    (name,) = set(adapt(SharedInLists(), {"h": x}).parameters())
    agree(SharedInLists(), {"h": x}, expect={"h", name})


class MeanLoss:
    def forward(self, x, t):
        self.diff = x - t
        return 0.5 * np.mean(self.diff**2)

    def backward(self, dout=1):
        dout *= 1 / self.diff.size
        return self.diff * dout


def test_a_scalar_upstream_cannot_be_written_into(x, rng):
    adapter = adapt(MeanLoss(), {"x": x}, constants={"t": rng.standard_normal(x.shape)})
    out, pullback = adapter.vjp(Case(name="c", primals={"x": x}, constants={"t": np.zeros_like(x)}))
    upstream = np.array(2.0)
    np.testing.assert_allclose(pullback(upstream)["x"], 2 * x / x.size)
    assert out.shape == ()
    assert upstream == 2.0


def test_names_are_known_before_any_run_when_a_gradient_has_a_place():
    class Placed(Affine):
        def __init__(self):
            super().__init__(weights(4, 3))
            self.rate, self.dW = 0.1, np.zeros((4, 3))

    assert set(Layer(Placed()).parameters()) == {"W"}


class Lazy:
    """Makes its weights when it sees its first input."""

    def __init__(self, factor=1.0):
        self.W, self.factor = None, factor

    def forward(self, x):
        if self.W is None:
            self.W = np.random.randn(x.shape[1], 3)  # noqa: NPY002 - user code draws from the global generator
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.factor * self.x.T @ dout
        return dout @ self.W.T


def test_weights_that_the_first_forward_makes_are_parameters(agree, x):
    layer = Lazy()
    agree(layer, {"x": x}, expect={"x", "W"})
    assert layer.W is None


def test_a_hidden_state_made_by_the_forward_is_no_parameter(agree, x):
    class Hidden(Affine):
        h = None

        def forward(self, x):
            start = 0 if self.h is None else self.h
            self.h = np.tanh(super().forward(x) + start)
            return self.h

        def backward(self, dout):
            return super().backward(dout * (1 - self.h**2))

    agree(Hidden(weights(4, 3)), {"x": x}, expect={"x", "W"})


def test_a_buffer_that_is_filled_again_is_no_parameter(agree, x):
    class Buffered(Affine):
        z = None

        def forward(self, x):
            self.z = np.empty((5, 3)) if self.z is None else self.z
            self.z[...] = super().forward(x)
            return np.tanh(self.z)

        def backward(self, dout):
            self.dz = dout * (1 - np.tanh(self.z) ** 2)
            return super().backward(self.dz)

    agree(Buffered(weights(4, 3)), {"x": x}, expect={"x", "W"})


def test_an_upstream_may_have_the_name_of_the_input(agree, x):
    class SameName(Affine):
        def forward(self, X):
            return super().forward(X)

        def backward_pass(self, X):
            return super().backward(X)

        backward = None

    agree(SameName(weights(4, 3)), {"X": x}, expect={"X", "W"})


def test_an_input_gradient_under_any_name_is_found(agree, x):
    class Odd(Affine):
        def backward(self, dvalues):
            self.dvalues = super().backward(dvalues)

    agree(Odd(weights(4, 3)), {"x": x}, expect={"x", "W"})


@pytest.mark.parametrize("empty", [[], (), {}], ids=["list", "tuple", "dict"])
def test_an_empty_container_beside_the_input_gradient_is_no_gradient(agree, x, empty):
    class Tanh:
        def forward(self, x):
            self.y = np.tanh(x)
            return self.y

        def backward(self, dout):
            return dout * (1 - self.y**2), empty

    agree(Tanh(), {"x": x}, expect={"x"})


class Collects(Affine):
    def __init__(self, W):
        super().__init__(W)
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return super().forward(x)

    def backward(self, dout):
        (x,) = self.seen
        self.dW = x.T @ dout
        return dout @ self.W.T


def test_an_object_that_collects_its_forwards_is_not_asked_for_two(x):
    adapter = adapt(Collects(weights(4, 3)), {"x": x})
    case = Case(name="c", primals={"x": x, **adapter.parameters()})
    out, pullback = adapter.vjp(case)
    adapter.again(Run(given={}, constants={}, out=out, pullback=pullback), case)
    with pytest.raises(Unsupported, match="after a second forward on the same object"):
        pullback(out)


def test_a_backward_with_the_loss_inside_asks_for_the_loss(x, t):
    class NoLoss(Affine):
        def backprop(self, x, y):
            super().backward(self.forward(x) - y)
            return self.dW

        backward = None

    adapter = adapt(NoLoss(weights(4, 3)), {"x": x}, constants={"y": t})
    case = Case(name="c", primals={"x": x, **adapter.parameters()}, constants={"y": t})
    with pytest.raises(AdapterError, match=r"gv.layer\(obj, loss=lambda out, y: ...\)"):
        adapter.vjp(case)[1](np.ones((5, 3)))


def test_labels_leave_out_private_containers(x):
    class Private(Affine):
        def __init__(self):
            self._params, self._grads = {"W": weights(4, 3)}, {}

        W = property(lambda self: self._params["W"])

        def backward(self, dout):
            self._grads["W"] = self.x.T @ dout
            return dout @ self.W.T

    assert set(adapt(Private(), {"x": x}).parameters()) == {"W"}


class Steps:
    def step(self, w, g, name):
        raise AssertionError("a recorder stands in")


def test_an_optimizer_that_is_an_argument_of_backward_is_recorded(agree, x):
    class Learns(Affine):
        def backward(self, grad, optimizer):
            dx = grad @ self.W.T
            self.W = optimizer.step(self.W, self.x.T @ grad, "W")
            return dx

    agree(Learns(weights(4, 3)), {"x": x}, {"optimizer": Steps()}, expect={"x", "W"})


class WithDropout:
    """``gradient`` runs its own forward, with another setting than the default of ``loss``."""

    def __init__(self):
        self.W = weights(4, 3)

    def loss(self, x, t, train_flg=False):
        keep = np.random.rand(*x.shape) > 0.4 if train_flg else np.ones(x.shape)  # noqa: NPY002 - as user code does
        self.x = x * keep
        self.y = self.x @ self.W
        return 0.5 * np.sum((self.y - t) ** 2)

    def gradient(self, x, t):
        self.loss(x, t, train_flg=True)
        return {"W": self.x.T @ (self.y - t)}


def test_a_backward_that_runs_its_own_forward_draws_the_same_mask_and_has_its_say_on_settings(agree, x, t):
    adapter = agree(WithDropout(), {}, {"x": x, "t": t}, expect={"W"})
    assert adapter.notes == ("gradient runs loss with train_flg=True, which is used here too",)


def test_a_setting_that_is_given_is_kept(x, t):
    adapter = adapt(WithDropout(), {}, constants={"x": x, "t": t, "train_flg": False})
    assert adapter.notes == ()


class TwoLists:
    """``nabla_b, nabla_w`` as lists like those on the object, one of a wrong shape."""

    def __init__(self):
        self.biases = [weights(3, 1), weights(2, 1)]
        self.weights = [weights(3, 4), weights(2, 3)]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights, strict=True):
            a = np.tanh(w @ a + b)
        return a

    def loss(self, x, y):
        return np.sum((self.feedforward(x) - y) ** 2)

    def backprop(self, x, y):
        return [np.zeros_like(b) for b in self.biases], [np.zeros((3, 4)), np.zeros((3, 2))]


def test_lists_are_matched_with_the_lists_on_the_object_whatever_the_shapes(rng):
    adapter = adapt(TwoLists(), {"x": rng.standard_normal((4, 1))}, constants={"y": rng.standard_normal((2, 1))})
    assert set(adapter.parameters()) == {"biases.0", "biases.1", "weights.0", "weights.1"}
