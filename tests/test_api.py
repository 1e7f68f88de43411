"""``gv.verify``: what it accepts, what it answers, and what it says when the call does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import AdapterError, UsageError

X = np.random.default_rng(0).standard_normal((5, 4))
W = np.random.default_rng(1).standard_normal((4, 3))
T = np.random.default_rng(2).standard_normal((5, 3))


def forward(x, W):
    return np.tanh(x) @ W, (x, W)


def backward(dout, cache):
    x, W = cache
    return (dout @ W.T) * (1 - np.tanh(x) ** 2), np.tanh(x).T @ dout


def square(x):
    return x**2, x


def square_backward(dout, x):
    return 2 * x * dout


PAIR, SQUARE = (forward, backward), (square, square_backward)


def quick(subject, primals=None, **options):
    return gv.verify(subject, primals, **{"level": "quick", **options})


# what is accepted ---


class Net:
    """A params dict shared with a layer inside; the gradient that is returned has the penalty, the layer's has not."""

    def __init__(self, lam=0.3):
        self.lam, self.params = lam, {"W1": W.copy()}

    def loss(self, x, t):
        self.y = x @ self.params["W1"]
        return 0.5 * np.sum((self.y - t) ** 2) + 0.5 * self.lam * np.sum(self.params["W1"] ** 2)

    def gradient(self, x, t):
        self.loss(x, t)
        return {"W1": x.T @ (self.y - t) + self.lam * self.params["W1"]}


class WithGradients(Net):
    def loss(self, x, t):
        value = super().loss(x, t)
        return value, {"W1": x.T @ (self.y - t) + self.lam * self.params["W1"]}

    gradient = None


class FirstLayer:
    def __init__(self):
        self.W = W.copy()

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout


NATURAL = {
    "a network, data constant": (Net(), {}, {"x": X, "t": T}),
    "a network, data beside": (Net(), {"x": X}, {"t": T}),
    "a network, its parameter given": (Net(), {"W1": W}, {"x": X, "t": T}),
    "a loss method, data constant": (WithGradients().loss, {}, {"x": X, "t": T}),
    "a loss method, data beside": (WithGradients().loss, {"x": X}, {"t": T}),
    "an object with a loss method": (WithGradients(), {"x": X}, {"t": T}),
    "a first layer, data constant": (FirstLayer(), {}, {"x": X}),
    "a first layer, data beside": (FirstLayer(), {"x": X}, {}),
}


@pytest.mark.parametrize(("subject", "primals", "constants"), NATURAL.values(), ids=NATURAL)
def test_the_parameters_are_judged_however_the_data_are_given(subject, primals, constants):
    report = gv.verify(subject, primals, constants=constants)
    assert report.verdict == "pass", str(report)
    judged = {f.of for f in report.findings if f.check == "pullback-matches-oracle" and f.verdict == "pass"}
    assert len(judged) == 1
    assert judged <= {"gradient of W", "gradient of W1"}


def test_a_wrong_gradient_of_a_network_is_found_with_its_data_as_constants():
    class Wrong(Net):
        def gradient(self, x, t):
            return {"W1": super().gradient(x, t)["W1"] - self.lam * self.params["W1"]}

    assert quick(Wrong(), constants={"x": X, "t": T}).verdict == "fail"


def test_data_that_are_kept_on_the_object_need_no_primals():
    class Holds:
        def __init__(self):
            self.data, self.W = (X, T), W.copy()

        def forward(self):
            self.residual = self.data[0] @ self.W - self.data[1]
            return 0.5 * np.sum(self.residual**2)

        def backward(self):
            self.dW = self.data[0].T @ self.residual

    report = quick(Holds())
    assert report.verdict == "pass", str(report)


def test_a_scalar_loss_that_scales_its_upstream_in_place_is_right():
    class Mean:
        def forward(self, x, t):
            self.d = x - t
            return 0.5 * np.mean(self.d**2)

        def backward(self, dout=1):
            dout *= 1 / self.d.size
            return self.d * dout

    assert gv.verify(Mean(), {"x": X}, constants={"t": X[::-1]}).verdict == "pass"


def torch_tensor():
    return pytest.importorskip("torch").tensor(X)


PRIMALS = {
    "an array": lambda: X,
    "a torch tensor": torch_tensor,
    "a torch tensor that wants a gradient": lambda: torch_tensor().requires_grad_(),
    "a list of floats": lambda: [0.5, -1.5, 2.0],
    "a Python float": lambda: 0.7,
    "a NumPy scalar": lambda: np.float64(0.7),
    "a matrix": lambda: np.asmatrix(X),
    "a read-only array": lambda: np.broadcast_to(X[:1], (3, 4)),
    "Fortran order": lambda: np.asfortranarray(X),
    "float32": lambda: X.astype(np.float32),
    "big-endian": lambda: X.astype(">f8"),
}


@pytest.mark.parametrize("value", PRIMALS.values(), ids=PRIMALS)
def test_a_primal_may_be_anything_that_is_numbers(value):
    report = quick(SQUARE, {"x": value()})
    assert report.verdict == "pass", str(report)


def test_only_the_primals_of_wrt_are_judged():
    def wrong(dout, cache):
        return backward(dout, cache)[0] * 2, backward(dout, cache)[1]

    assert quick((forward, wrong), {"x": X, "W": W}, wrt=["W"]).verdict == "pass"
    assert quick((forward, wrong), {"x": X, "W": W}, wrt="x").verdict == "fail"


def test_the_given_upstream_is_the_one_that_is_used():
    def only_this(dout, cache):
        return backward(T, cache)

    report = quick((forward, only_this), {"x": X, "W": W}, upstream=T, checks=["pullback-matches-oracle"])
    assert report.verdict == "pass"


def test_every_public_name_is_there():
    for name in gv.__all__:
        assert getattr(gv, name) is not None


# what is a finding ---


def test_a_gradient_of_the_wrong_shape_is_a_finding():
    report = quick(
        (forward, lambda dout, cache: (backward(dout, cache)[0], backward(dout, cache)[1].T)), {"x": X, "W": W}
    )
    assert report.verdict == "fail"
    assert "the gradient of W has shape (3, 4), W has (4, 3)" in str(report)


def test_a_primal_that_gets_none_beside_others_is_a_finding():
    report = quick((forward, lambda dout, cache: (None, backward(dout, cache)[1])), {"x": X, "W": W})
    assert report.verdict == "fail"
    assert "(None) for x" in str(report)


# what is an error of the call ---

USAGE = {
    "no primals, functions": (
        lambda: gv.verify(PAIR),
        r"no primals: none were given.*forward.*write gv.verify\(subject, \{'x': x\}\)",
    ),
    "no primals, a layer": (lambda: gv.verify(FirstLayer()), r"no primals: none were given.*x is missing.*constants="),
    "a layer without parameters": (
        lambda: gv.verify(type("Act", (FirstLayer,), {"backward": lambda s, d: d @ s.W.T})(), {}, constants={"x": X}),
        "no primals: none were given, and no parameters with gradients were found on Act",
    ),
    "an array for primals": (lambda: gv.verify(PAIR, X), r"primals is a ndarray; give a mapping .*\{'x': x\}"),
    "a list for primals": (lambda: gv.verify(PAIR, [X, W]), "primals is a list; give a mapping"),
    "an array for constants": (lambda: gv.verify(SQUARE, {"x": X}, constants=X), "constants is a ndarray; give a map"),
    "integer primals": (
        lambda: gv.verify(SQUARE, {"x": np.arange(3)}),
        r"none of the primals is floating-point \(x is int64\); write \{'x': x.astype\(float\)\}",
    ),
    "NaN": (
        lambda: gv.verify(PAIR, {"x": np.where(X[1, 2] == X, np.nan, X), "W": W}),
        r"primal 'x' is NaN at \(1, 2\): there is no derivative there; give finite numbers",
    ),
    "objects": (
        lambda: gv.verify(SQUARE, {"x": np.array([None])}),
        "primal 'x' has dtype object; expected an array of numbers such as float64",
    ),
    "text": (lambda: gv.verify(SQUARE, {"x": "abc"}), "primal 'x' has dtype <U3; expected an array of numbers"),
    "ragged": (
        lambda: gv.verify(SQUARE, {"x": [[1.0], [1.0, 2.0]]}),
        "primal 'x' is a list that NumPy cannot make an array of.*give each array a name of its own",
    ),
    "both primal and constant": (
        lambda: gv.verify(PAIR, {"x": X, "W": W}, constants={"W": W}),
        "W is given both as a primal and as a constant; keep one",
    ),
    "unknown in wrt": (
        lambda: gv.verify(PAIR, {"x": X, "W": W}, wrt=["w"]),
        r"wrt names 'w', which is no primal; did you mean W\? The primals are x, W",
    ),
    "unknown check": (lambda: gv.verify(SQUARE, {"x": X}, checks=["shap"]), "no check is called 'shap'; did you mean"),
    "unknown oracle": (lambda: gv.verify(SQUARE, {"x": X}, oracles=["magic"]), "no oracle is called 'magic'"),
    "unknown level": (lambda: gv.verify(SQUARE, {"x": X}, level="fast"), "level='fast'; the levels are quick"),
    "unknown dtype": (lambda: gv.verify(SQUARE, {"x": X}, dtype="float63"), "dtype='float63'; known: float64, float32"),
    "negative tolerance": (lambda: gv.verify(SQUARE, {"x": X}, tolerance=-1), "tolerance=-1; it is relative and not"),
    "NaN tolerance": (lambda: gv.verify(SQUARE, {"x": X}, tolerance=np.nan), "tolerance=nan"),
    "no entries": (lambda: gv.verify(SQUARE, {"x": X[:0]}), r"no entry to differentiate \(x has shape \(0, "),
    "a device for NumPy": (lambda: gv.verify(SQUARE, {"x": X}, device="cuda"), "device='cuda' is for torch"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), USAGE.values(), ids=USAGE)
def test_a_call_that_does_not_fit_is_a_usage_error(call, words):
    with pytest.raises(UsageError, match=f"(?s){words}"):
        call()


BROKEN = {
    "unknown primal": (
        lambda: gv.verify(PAIR, {"x": X, "w2": W}),
        r"forward takes \(x, W\) but the primals are x, w2; did you mean W\?",
    ),
    "unknown constant": (
        lambda: gv.verify(PAIR, {"x": X, "W": W}, constants={"reg": 0.1}),
        "has no place for the constant 'reg'",
    ),
    "a missing primal": (lambda: gv.verify(PAIR, {"x": X}), r"forward takes \(x, W\) but W is missing; given: x"),
    "wrong arity": (
        lambda: gv.verify((forward, lambda dout: dout), {"x": X, "W": W}),
        "backward returned an array of shape .*; expected 2, one per primal, in the order x, W",
    ),
    "fewer gradients": (
        lambda: gv.verify((forward, lambda dout, cache: backward(dout, cache)[:1]), {"x": X, "W": W}),
        "backward returned 1 gradients; expected 2, one per primal, in the order x, W",
    ),
    "not an array": (
        lambda: gv.verify((forward, lambda dout, cache: (X, "W")), {"x": X, "W": W}),
        "the gradient of 'W' from backward is 'W', not an array",
    ),
    "objects": (
        lambda: gv.verify((forward, lambda dout, cache: (X, np.array([None]))), {"x": X, "W": W}),
        "the gradient of 'W' from backward has dtype object; expected an array of numbers",
    ),
    "a gradient for an unknown primal": (
        lambda: gv.verify((forward, lambda dout, cache: {"x": X, "V": W}), {"x": X, "W": W}),
        r"returned a gradient for 'V' but the primals are x, W; did you mean W\?",
    ),
    "an upstream of the wrong shape": (
        lambda: gv.verify(PAIR, {"x": X, "W": W}, upstream=np.ones((3, 5))),
        r"the upstream has shape \{'out': \(3, 5\)\}, the forward's output \{'out': \(5, 3\)\}",
    ),
    "an unknown subject": (lambda: gv.verify(3, {"x": X}), "(?s)cannot tell how to drive 3; accepted are"),
    "an exception of user code": (
        lambda: gv.verify((forward, lambda dout, cache: 1 / 0), {"x": X, "W": W}),
        "backward raised ZeroDivisionError: division by zero",
    ),
}


@pytest.mark.parametrize(("call", "words"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_driven_is_an_adapter_error(call, words):
    with pytest.raises(AdapterError, match=words):
        call()
