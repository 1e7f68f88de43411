"""Whatever leaves the trace says so; nothing becomes a constant in silence."""

from __future__ import annotations

import builtins
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradverify.errors import Unsupported
from gradverify.tracing import Escaped, trace

X = np.array([[0.5, 1.5], [2.5, -0.5]])
PLAIN = np.random.default_rng(0).standard_normal((2, 2))


def run(f, **options):
    return trace(lambda p, c: f(p["x"]), {"x": X}, {}, **options)


def into_a_foreign_buffer(x):
    buffer = np.random.default_rng(0).standard_normal((2, 2))
    buffer[0] = x[0]
    return buffer + x


def in_place_on_a_foreign_buffer(x):
    buffer = PLAIN.copy()
    buffer += x
    return buffer


def an_entry_of_a_foreign_buffer(x):
    buffer = PLAIN.copy()
    buffer[0, 1] = x[0, 1]
    return x * buffer


def swallowed(x):
    try:
        np.fft.fft(x)
        scale = 2.0
    except Exception:  # noqa: BLE001 - as users do
        scale = 1.0
    return x * scale


ESCAPES = {
    "np.fft.fft is not traced": lambda x: np.fft.fft(x),
    "np.gradient is not traced": lambda x: np.gradient(x),
    "float(), .item() or assignment into a plain array, of a traced value at test_escapes.py": lambda x: (
        x * math.gamma(x[0, 0])
    ),
    ".data of a traced array": lambda x: x.data,
    ".ctypes of a traced array": lambda x: x.ctypes,
    ".tobytes of a traced array": lambda x: x.tobytes(),
    ".view of a traced array": lambda x: x.view(np.int64),
    "became a plain array": into_a_foreign_buffer,
    "assignment into a plain array, of a traced value": an_entry_of_a_foreign_buffer,
    "out= (or +=, *=) into a plain array": in_place_on_a_foreign_buffer,
    "became a plain array  ": lambda x: np.random.default_rng(0).normal(x),
    "became a plain array   ": lambda x: np.nditer(x),
    "ufunc.at": lambda x: np.multiply.at(x, ([0, 0], [0, 0]), 2.0),
    "np.add.at of traced values into a plain array": lambda x: np.add.at(PLAIN.copy(), [0, 1], x),
    "np.spacing is not traced": lambda x: np.spacing(x),
    "memoryview": lambda x: memoryview(x),
    "np.fft.fft is not traced ": swallowed,
    "arithmetic of a traced array with complex128 values": lambda x: x * 1j,
    "the output does not depend on the traced primals": lambda x: np.argmax(x) + 0.0,
    "the output does not depend": lambda x: PLAIN,
    "pickling": lambda x: __import__("pickle").dumps(x),
}


@pytest.mark.parametrize("message", ESCAPES)
def test_an_escape_names_itself(message):
    with pytest.raises(Escaped) as info:
        run(ESCAPES[message])
    if message != "ufunc.at":
        assert message.strip() in str(info.value)
    assert isinstance(info.value, Unsupported)


def test_an_escape_names_the_users_line():
    with pytest.raises(Escaped, match=r"test_escapes.py:\d+ \(`buffer\[0\] = x\[0\]`\)"):
        run(into_a_foreign_buffer)


def test_a_float_returned_as_it_is_keeps_its_gradient():
    for last in (lambda x: float(np.sum(x**2)), lambda x: np.sum(x**2).item(), lambda x: (float(np.sum(x**2)), None)):
        assert np.allclose(run(last).vjp(np.array(1.0))["x"], 2 * X)


@pytest.mark.parametrize("to_float", [
    float, np.float64, lambda v: v.item(), lambda v: np.array([v]).tolist()[0], lambda v: x_of(v),
])  # fmt: skip
def test_a_scalar_conversion_keeps_the_gradient(to_float):
    def forward(x):
        loss = convert(np.sum(x**2))
        return np.sum(x) * loss + max(convert(x[0, 0]), 0.0) + math.erf(x[1, 1])

    convert = {float: lambda v: float(v), np.float64: lambda v: np.float64(v)}.get(to_float, to_float)
    want = np.sum(X**2) + 2 * X * np.sum(X)
    want[0, 0] += 1
    want[1, 1] += 2 / np.sqrt(np.pi) * np.exp(-(X[1, 1] ** 2))
    assert np.allclose(run(forward, expect=forward(X)).vjp(np.array(1.0))["x"], want)


def x_of(v):
    return float(np.squeeze(v)) * np.float32(1)


def test_float_and_the_dtypes_of_numpy_stay_what_they_are_inside_a_forward():
    def forward(x):
        assert isinstance(2.0, float)
        assert not isinstance(2, float)
        assert isinstance(np.float32(2), np.float32)
        assert np.dtype(float) == np.float64
        assert np.arange(3).astype(float).dtype == np.float64
        assert x.dtype == np.float64
        assert x.dtype == float
        assert np.issubdtype(x.dtype, np.float64)
        assert float("3.5") == 3.5
        assert np.float64(2).dtype == np.float64
        assert np.zeros(2, dtype=float).dtype == float
        assert np.zeros(2, np.float32).dtype == np.float32
        assert np.finfo(np.float32).eps > np.finfo(float).eps
        return x * float(2)

    assert run(forward).out.shape == (2, 2)
    assert float is builtins.float


def test_a_vectorized_function_of_math_traces():
    erfc = np.vectorize(math.erfc)
    grads = run(lambda x: erfc(x), expect=erfc(X)).vjp(np.ones((2, 2)))
    assert np.allclose(grads["x"], -2 / np.sqrt(np.pi) * np.exp(-(X**2)))


def test_an_error_of_the_forward_on_traced_arrays_is_an_escape_with_its_line():
    with pytest.raises(Escaped, match=r"fails on traced arrays: KeyError: 'W' at test_escapes.py:\d+"):
        trace(lambda p, c: p["W"], {"x": X}, {})


def test_a_value_that_differs_from_the_plain_one_is_an_escape():
    def forward(x):
        return x * (2 if type(x) is np.ndarray else 3)

    with pytest.raises(Escaped, match="differs from the plain one"):
        run(forward, expect=forward(X))


def test_agreement_allows_for_cancellation():
    def forward(x):
        return ((x + 1e8) - 1e8) * (1 + 1e-9 * np.exp(x))

    assert run(forward, expect=forward(X)).out.shape == (2, 2)
    sums = lambda x: np.sum(np.exp(x) / np.sum(np.exp(x))) - 1.0  # noqa: E731
    run(sums, expect=np.asarray(sums(X)))


def test_complex_primals_are_declined():
    with pytest.raises(Escaped, match="'z' is complex"):
        trace(lambda p, c: p["z"], {"z": X + 0j}, {})


def test_user_code_that_asks_for_types_gets_numpys_answers():
    def forward(x):
        assert isinstance(x, np.ndarray)
        assert isinstance(np.sum(x), float)
        assert isinstance(x[0, 0], np.floating)
        assert np.isscalar(np.sum(x))
        assert x.dtype == np.float64
        assert np.issubdtype(x.dtype, np.floating)
        assert x.ndim == 2
        assert x.size == 4
        assert len(x) == 2
        assert x.nbytes == 32
        assert x.strides == (16, 8)
        assert x.flags.c_contiguous
        assert x.T.flags.f_contiguous
        assert np.shape(x) == (2, 2)
        assert np.ndim(x) == 2
        assert not np.isnan(x).any()
        assert f"{np.sum(x):.1f}" == "4.0"
        assert 2.5 in x
        assert int(np.sum(x)) == 4
        return x * x

    assert np.allclose(run(forward).vjp(np.ones((2, 2)))["x"], 2 * X)


def test_a_trace_in_float32_has_the_gradient_to_float32():
    result = run(lambda x: np.tanh(x) @ x, dtype="float32", expect=(np.tanh(X) @ X).astype(np.float32))
    assert result.out.dtype == np.float32
    exact = run(lambda x: np.tanh(x) @ x).vjp(np.ones((2, 2)))["x"]
    assert np.allclose(result.vjp(np.ones((2, 2)))["x"], exact, rtol=1e-5)


def test_two_threads_may_trace_at_once():
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda k: run(lambda x: np.zeros(2) + k * np.sum(x**2)).out[0], range(20)))
    assert np.allclose(found, np.arange(20) * np.sum(X**2))
