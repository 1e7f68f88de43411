"""Buffers, views and in-place operators: as NumPy has them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from numpy import empty as blank

from gradverify.tracing import Escaped, trace
from tests.tracing.support import assert_traced

rng = np.random.default_rng(4)
X = rng.standard_normal((3, 4))
V = rng.standard_normal(4)


def rows_into_zeros(p):
    out = np.zeros((3, 4))
    for i in range(3):
        out[i] = p["x"][i] ** 2
    return out


def entries_into_empty(p):
    out = np.empty((4, 3))
    for i in range(3):
        for j in range(4):
            out[j, i] = p["x"][i, j] * (i + j)
    return out


def a_name_imported_from_numpy(p):
    out = blank((2, 4))
    out[0], out[1] = p["x"][0], p["x"][1] * p["x"][2]
    return out


def columns_into_like(p):
    out = np.zeros_like(p["x"])
    out[:, 1] = p["x"][:, 2] * 3
    out[:, [0, 3]] = p["x"][:, [1, 1]]
    return out * p["x"]


def a_mask_set_to_zero(p):
    x = p["x"].copy()
    x[x < 0] = 0
    return x**2


def a_mask_scaled_in_place(p):
    x = p["x"] * 1
    x[x < 0] *= 0.1
    return x * x


def a_mask_filled_with_traced(p):
    x = np.ones((3, 4))
    m = X > 0
    x[m] = p["x"][m] ** 2
    return x


def accumulation(p):
    total = np.zeros(4)
    for row in p["x"]:
        total += row**2
    return total


def accumulation_into_one_entry(p):
    total = np.zeros(2)
    for row in p["x"]:
        total[1] += np.sum(row**2)
    return total


def in_place_operators(p):
    x = p["x"].copy()
    x += 1
    x *= p["x"]
    x -= 0.5 * p["x"]
    x /= 3 + p["x"] ** 2
    x **= 2
    return x


def in_place_on_the_argument(p):
    x = p["x"]
    x *= 2
    return x * x


def a_view_written_through(p):
    x = p["x"].copy()
    row = x[1]
    row[:] = p["x"][0] * 5
    row[2] = 7
    return x * p["x"]


def a_chain_of_views(p):
    x = p["x"].copy()
    view = x.T[::-1].reshape(4, 3)[1:, ::2]
    view *= 3
    view[0, 0] = p["x"][0, 0] ** 2
    return x


def a_write_seen_by_an_older_view(p):
    x = np.zeros((3, 4))
    view = x.reshape(-1)[2:7]
    x[:] = p["x"]
    x[0, 3] = p["x"][2, 2] ** 3
    return view * 2


def a_reshape_that_copies(p):
    x = p["x"].copy()
    flat = x.T.reshape(-1)
    flat[:] = 0
    return x * 2 + flat[0]


def a_scalar_is_no_view(p):
    x = p["x"].copy()
    a = x[0, 0]
    x[0, 0] = 100
    return x * a


def out_argument(p):
    out = np.zeros((3, 4))
    np.multiply(p["x"], 2, out=out)
    np.add(out, p["x"] ** 2, out=out)
    np.exp(out[0], out=out[1])
    return out


def add_at(p):
    out = np.zeros((2, 4))
    np.add.at(out, [0, 1, 0], p["x"])
    np.subtract.at(out, (np.array([0, 0]), np.array([1, 1])), p["x"][0, :2])
    return out**2


def in_place_functions(p):
    x = p["x"].copy()
    np.fill_diagonal(x, p["v"][0])
    np.copyto(x, p["v"], where=np.array([True, False, False, True]))
    np.put_along_axis(x, np.array([[2], [1], [0]]), p["v"][:3, None], axis=1)
    np.put(x, [5, 6], p["v"][1])
    np.putmask(x, X > 1, p["x"] * 3)
    x.sort(axis=1)
    return x


def fill_and_flat(p):
    x = np.full((2, 2), 3.0)
    x.flat[1:3] = p["v"][:2]
    y = np.empty(3)
    y.fill(p["v"][3])
    return np.concatenate([x.ravel(), y])


def shape_assignment(p):
    x = p["x"].copy()
    x.shape = (4, 3)
    return x[1] * x


def swapping_rows(p):
    x = p["x"].copy()
    x[[0, 2]] = x[[2, 0]]
    x[0], x[1] = x[1].copy(), x[0].copy()
    return x * np.arange(4)


def repeated_index_keeps_the_last(p):
    x = np.zeros(3)
    x[[1, 1, 1]] = p["v"][:3]
    return x


def broadcast_assignment(p):
    x = np.zeros((2, 3, 4))
    x[:, 1] = p["v"]
    x[0, :, 2:] = p["x"][:, :1]
    x[..., 0] = p["v"][0]
    x[1, 2, 3] = p["x"][1:2, 2:3].reshape(1)[0]
    return x


def deep_copies(p):
    x = copy.deepcopy(p["x"])
    x[0] = 0
    return x + copy.copy(p["x"])


def a_buffer_from_a_list(p):
    out = np.array([0.0, 0.0, 0.0])
    out[1] = p["v"][0] * 2
    return out


def grows_by_append(p):
    out = np.array([])
    for v in p["v"]:
        out = np.append(out, v**2)
    return out


def full_of_a_traced_value(p):
    return np.full((2, 3), p["v"][1]) * np.full_like(p["x"][:2, :3], p["v"][0])


@pytest.mark.parametrize(
    "f",
    [
        rows_into_zeros, entries_into_empty, a_name_imported_from_numpy, columns_into_like, a_mask_set_to_zero,
        a_mask_scaled_in_place, a_mask_filled_with_traced, accumulation, accumulation_into_one_entry,
        in_place_operators, in_place_on_the_argument, a_view_written_through, a_chain_of_views,
        a_write_seen_by_an_older_view, a_reshape_that_copies, a_scalar_is_no_view, out_argument, add_at,
        fill_and_flat, shape_assignment, swapping_rows, repeated_index_keeps_the_last, broadcast_assignment,
        deep_copies, a_buffer_from_a_list, grows_by_append, full_of_a_traced_value, in_place_functions,
    ],
)  # fmt: skip
def test_memory_behaves_as_in_numpy(f):
    primals = {"x": X, "v": V}
    used = {k: v for k, v in primals.items() if f'"{k}"' in __import__("inspect").getsource(f)}
    assert_traced(f, **used)


def test_writing_into_a_broadcast_array_is_refused_as_in_numpy():
    def forward(p, constants):
        x = np.broadcast_to(p["v"], (2, 4))
        x[0] = 1
        return x

    with pytest.raises(Escaped, match="read-only"):
        trace(forward, {"v": V}, {})


def test_a_shape_that_does_not_fit_is_refused_as_in_numpy():
    def forward(p, constants):
        x = np.zeros(3)
        x[:] = p["v"]
        return x

    with pytest.raises(Escaped, match=r"could not broadcast input array from shape \(4,\) into shape \(3,\)"):
        trace(forward, {"v": V}, {})


def test_the_constructors_are_numpys_own_again_after_a_trace_and_after_a_failed_one():
    before = {name: getattr(np, name) for name in ("zeros", "array", "asarray", "c_", "sum")}
    trace(lambda p, c: np.zeros(4) + p["v"], {"v": V}, {})
    with pytest.raises(Escaped):
        trace(lambda p, c: np.fft.fft(p["v"]), {"v": V}, {})
    assert before == {name: getattr(np, name) for name in before}
    assert blank is np.empty
    assert type(np.zeros(3)) is np.ndarray


def test_the_given_primals_and_constants_are_not_changed():
    x, y = X.copy(), V.copy()

    def forward(p, c):
        p["x"][:] = 0
        return p["x"] * c["y"] + p["v"]

    trace(forward, {"x": x, "v": V}, {"y": y})
    assert np.array_equal(x, X)
    assert np.array_equal(y, V)


def test_plain_buffers_that_change_after_their_use_do_not_change_the_gradient():
    weights = V.copy()

    def forward(p, c):
        out = p["v"] * weights
        weights[:] = 99.0
        return out

    grads = trace(forward, {"v": V}, {}).vjp(np.ones(4))
    assert np.array_equal(grads["v"], V)
