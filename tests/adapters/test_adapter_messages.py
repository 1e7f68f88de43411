"""What cannot be driven is said in one sentence that tells what to write."""

from __future__ import annotations

import threading
import types

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters._adapt import adapt
from gradverify.adapters.functions import Functions
from gradverify.adapters.layer import Layer
from gradverify.adapters.value_and_grad import ValueAndGrad
from gradverify.errors import AdapterError, GradverifyError, UsageError
from gradverify.types import Case

X = np.arange(6.0).reshape(2, 3) + 1
W = np.ones((3, 2))


def driven(adapter, primals=None, constants=None):
    out, pullback = adapter.vjp(
        Case(name="c", primals={"x": X, "W": W} if primals is None else primals, constants=constants or {})
    )
    return pullback(out)


def forward(x, W):
    return x @ W, (x, W)


def backward(dout, cache):
    x, W = cache
    return dout @ W.T, x.T @ dout


RETURNED = {
    "nothing": (None, "backward returned None; it must return its gradients"),
    "one array for two": (
        X,
        r"backward returned an array of shape \(2, 3\) .*; expected 2, one per primal, in the order x, W",
    ),
    "too few": ((X,), "backward returned 1 gradients; expected 2, one per primal, in the order x, W"),
    "too many": ((X, W, X), "backward returned 3 gradients; expected 2"),
    "unknown primal": ({"x": X, "V": W}, r"returned a gradient for 'V' but the primals are x, W; did you mean W\?"),
    "one missing": ({"x": X}, "returned no gradient for 'W' .it returned x.; return None for it if"),
    "a string": ((X, "W"), "the gradient of 'W' from backward is 'W', not an array"),
    "objects": ((X, np.array([None, 1])), "the gradient of 'W' from backward has dtype object"),
    "ragged": ((X, [[1.0], [1.0, 2.0]]), "backward returned 3 gradients; expected 2|cannot make an array"),
}


@pytest.mark.parametrize(("result", "words"), RETURNED.values(), ids=RETURNED)
def test_what_backward_returned_is_said(result, words):
    with pytest.raises(AdapterError, match=words):
        driven(Functions(forward, lambda dout, cache: result))


def test_a_gradient_of_the_wrong_shape_is_for_the_checks_to_judge():
    assert driven(Functions(forward, lambda dout, cache: (X.T, W)))["x"].shape == (3, 2)


def test_a_wrong_name_of_a_primal_names_the_nearest():
    with pytest.raises(AdapterError, match=r"forward takes \(x, W\) but the primals are x, V; did you mean W\?"):
        driven(Functions(forward, backward), {"x": X, "V": W})


def test_a_missing_argument_is_named():
    with pytest.raises(AdapterError, match=r"forward takes \(x, W\) but W is missing; given: x"):
        driven(Functions(forward, backward), {"x": X})


def test_a_constant_without_a_place_is_named():
    with pytest.raises(AdapterError, match="has no place for the constant 'labels'"):
        driven(Functions(forward, backward), constants={"labels": 1})


def test_a_forward_without_return_is_said():
    with pytest.raises(AdapterError, match=r"forward returned None; it must return its output"):
        driven(Functions(lambda x, W: None, backward))


def test_a_forward_that_returns_text_is_said():
    with pytest.raises(AdapterError, match="the output of forward is 'out', not an array"):
        driven(Functions(lambda x, W: ("out", 1), backward))


def test_a_backward_that_needs_a_cache_that_is_not_there_is_said():
    with pytest.raises(
        AdapterError, match=r"backward takes cache, but forward returned no cache: return \(out, cache\)"
    ):
        driven(Functions(lambda x, W: x @ W, backward))


def test_a_backward_with_an_unknown_argument_is_said():
    with pytest.raises(
        AdapterError, match="backward takes mask, which is no primal, constant, upstream or cached value"
    ):
        driven(Functions(forward, lambda dout, cache, mask: None))


def test_a_backward_without_an_upstream_points_to_value_and_grad():
    with pytest.raises(
        AdapterError, match=r"no upstream gradient; write backward.upstream, cache., or use gv.value_and_grad"
    ):
        driven(Functions(forward, lambda x, W: (x, W)))


def test_an_exception_of_user_code_is_carried():
    with pytest.raises(AdapterError, match="backward raised ZeroDivisionError: division by zero"):
        driven(Functions(forward, lambda dout, cache: 1 / 0))


def test_no_primals_is_said():
    with pytest.raises(AdapterError, match="there are no primals: give at least one array"):
        driven(Functions(forward, backward), {})


def test_a_primal_of_objects_is_said():
    with pytest.raises(AdapterError, match="primal 'x' has dtype object; expected an array of numbers"):
        driven(Functions(forward, backward), {"x": np.array([None]), "W": W})


def test_a_backward_that_is_not_callable_is_said():
    with pytest.raises(UsageError, match="backward is not callable: 3"):
        Functions(forward, 3)


def test_one_function_without_a_flag_needs_a_backward():
    with pytest.raises(UsageError, match="functions needs a backward, or a forward with a flag"):
        Functions(forward)


def test_a_loss_that_is_no_pair_is_said():
    with pytest.raises(AdapterError, match=r"returned an array of shape .*; expected \(loss, gradients\)"):
        driven(ValueAndGrad(lambda x, W: x @ W))


def test_a_loss_that_is_no_number_is_said():
    with pytest.raises(AdapterError, match=r"must be one number .or elementwise.; it has shape \(2, 2\)"):
        driven(ValueAndGrad(lambda x, W: (x @ W, (X, W))))


def test_an_unknown_subject_lists_what_is_accepted():
    with pytest.raises(
        AdapterError, match=r"(?s)cannot tell how to drive 3; accepted are.*two functions.*torch.nn.Module"
    ):
        adapt(3)


def test_an_unknown_option_is_said():
    with pytest.raises(UsageError, match="Functions does not take these options"):
        adapt((forward, backward), gradients={"W": "dW"})


def test_a_device_for_numpy_code_is_refused():
    with pytest.raises(UsageError, match="device='cuda' is for torch"):
        adapt((forward, backward), device="cuda")


def test_an_adapter_is_passed_through():
    adapter = Functions(forward, backward)
    assert adapt(adapter) is adapter


class Base:
    def __init__(self):
        self.W = np.ones((3, 2))

    def forward(self, x):
        self.x = x
        return x @ self.W


def test_a_class_that_needs_arguments_is_said():
    class Sized(Base):
        def __init__(self, n):
            super().__init__()

        def backward(self, dout):
            return dout @ self.W.T

    with pytest.raises(
        UsageError, match=r"Sized takes \(n\): pass an instance, or a factory such as gv.layer\(lambda: Sized\(n\)\)"
    ):
        adapt(Sized)


def test_a_layer_that_cannot_be_copied_asks_for_a_factory():
    class Locked(Base):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

        def backward(self, dout):
            self.dW = self.x.T @ dout
            return dout @ self.W.T

    with pytest.raises(AdapterError, match=r"Locked cannot be copied .*pass a factory that makes a new one: gv.layer"):
        driven(Layer(Locked()), {"x": X})
    assert set(driven(Layer(Locked), {"x": X, "W": W})) == {"x", "W"}


def test_a_parameter_without_a_gradient_asks_where_it_is():
    class Silent(Base):
        def backward(self, dout):
            return dout @ self.W.T

    with pytest.raises(
        AdapterError, match=r"'W' is on the Silent but no gradient of it was found .*grads=\{'W': 'dW'\}"
    ):
        driven(Layer(Silent()))


def test_a_place_that_leads_nowhere_lists_what_is_there():
    class Plain(Base):
        def backward(self, dout):
            return dout @ self.W.T

    with pytest.raises(UsageError, match=r"'dW' leads nowhere: Plain has no 'dW'; arrays on it: W, x"):
        driven(Layer(Plain(), grads={"W": "dW"}), {"x": X})


def test_an_unknown_method_is_named():
    class Ok(Base):
        def backward(self, dout):
            return dout @ self.W.T

    with pytest.raises(UsageError, match=r"Ok has no method 'bakward'; did you mean backward\?"):
        driven(Layer(Ok(), backward="bakward"), {"x": X})


class Updates(Base):
    def rule(self, g):
        return g

    def backward(self, dout, lr):
        dx = dout @ self.W.T
        self.W = self.W - self.rule(lr * (self.x.T @ dout))
        return dx


def test_a_clipped_update_is_refused():
    class Clipped(Updates):
        def rule(self, g):
            return np.clip(g, -0.1, 0.1)

    with pytest.raises(AdapterError, match="not proportional to the learning rate"):
        driven(Layer(Clipped()), {"x": X})


def test_a_normalised_update_is_refused():
    class Adam(Updates):
        def backward(self, dout, lr):
            g = self.x.T @ dout
            self.W = self.W - lr * g / (np.sqrt(g**2) + 1e-12)
            return dout

    with pytest.raises(AdapterError, match="changes all entries of W by the same amount, as Adam or RMSprop do"):
        driven(Layer(Adam()), {"x": X})


def test_an_update_with_an_unknown_rate_is_refused():
    class Hidden(Updates):
        def backward(self, dout):
            self.W = self.W - 0.01 * (self.x.T @ dout)
            return dout @ self.W.T

    with pytest.raises(AdapterError, match="changes W in place and no learning rate was found"):
        driven(Layer(Hidden()), {"x": X})


def test_a_layer_that_leaves_no_gradient_of_its_input_says_so():
    class Nothing:
        def forward(self, x):
            return 2 * x

        def backward(self, dout):
            self.result = float(dout.sum())

    with pytest.raises(
        AdapterError, match="backward returned None and left no dinputs, dx or grad_input on the object"
    ):
        driven(Layer(Nothing()), {"x": X})


def test_a_jacobian_is_told_from_an_elementwise_derivative():
    class Softmax:
        def function(self, a):
            e = np.exp(a)
            return e / e.sum(1, keepdims=True)

        def deriv(self, a):
            s = self.function(a)
            return s[:, :, None] * (np.eye(a.shape[1]) - s[:, None, :])

    with pytest.raises(AdapterError, match=r"deriv returned a Jacobian of shape \(2, 3, 3\) for an output of shape"):
        driven(Layer(Softmax()), {"a": X})


class TrainsItself:
    def __init__(self):
        self.w = np.ones(3)

    def predict(self, X):
        return X @ self.w

    def fit(self, X, y, lr=0.1):
        self.w -= lr * 2 * X.T @ (self.predict(X) - y) / len(y)


class Static:
    @staticmethod
    def tanh(x):
        return np.tanh(x)

    @staticmethod
    def dtanh(x):
        return 1 - np.tanh(x) ** 2


class Doubling:
    def forward(self, x):
        return 2 * x

    __call__ = forward

    def backward(self, dout):
        return 2 * dout


def forward_pass(x):
    return x, x


def backward_pass(dout, cache):
    return dout


MODULE = types.ModuleType("student")
MODULE.relu_forward, MODULE.relu_backward = forward_pass, backward_pass


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (
            TrainsItself(),
            r"it trains itself in fit.*gv.layer\(obj, forward='predict', backward='fit', loss=lambda out, y",
        ),
        (Static, r"the class Static.*gv.verify\(\(Static.tanh, Static.dtanh\), primals\)"),
        ([Doubling(), Doubling()], "a list of layers is driven by an object whose forward runs them in order"),
        (MODULE, r"gv.verify\(\(student.relu_forward, student.relu_backward\), primals\)"),
        ({"forward": forward_pass, "backward": backward_pass}, r"functions\['forward'\], functions\['backward'\]"),
        ((backward_pass, forward_pass), r"gv.verify\(\(forward_pass, backward_pass\), primals\)"),
    ],
    ids=["fit", "static", "layers", "module", "mapping", "order"],
)
def test_what_no_adapter_takes_as_it_is_says_what_to_write(subject, words):
    with pytest.raises(GradverifyError, match=words):
        adapt(subject, {"x": np.ones((2, 3))})


def test_what_is_said_of_an_object_that_trains_itself_works():
    rng = np.random.default_rng(0)
    layer = gv.layer(TrainsItself(), forward="predict", backward="fit", loss=lambda out, y: np.mean((out - y) ** 2))
    data = {"X": rng.standard_normal((5, 3)), "y": rng.standard_normal(5)}
    assert gv.verify(layer, {}, constants=data).verdict == "pass"
