"""Every supported NumPy function on a small array, against differences of the plain function."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tracing.support import assert_traced

rng = np.random.default_rng(3)
X = rng.uniform(0.3, 0.9, (3, 4)) + np.arange(12).reshape(3, 4) * 0.02
Y = rng.uniform(1.2, 2.0, (3, 4))
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 5.0]])
M = rng.standard_normal((3, 3)) + 3 * np.eye(3)
MASK = rng.uniform(size=(3, 4)) > 0.4

UNARY = """exp exp2 expm1 log log2 log10 log1p sqrt square cbrt reciprocal sin cos tan arcsin arccos arctan sinh cosh
tanh arcsinh arctanh absolute fabs negative positive deg2rad rad2deg radians degrees conjugate abs sinc i0 floor ceil
trunc rint sign nan_to_num fix real copy"""

BINARY = """add subtract multiply divide true_divide power float_power maximum minimum fmax fmin hypot arctan2
logaddexp logaddexp2 copysign remainder mod fmod floor_divide"""


@pytest.mark.parametrize("name", UNARY.split())
def test_a_unary_ufunc_traces(name):
    f = getattr(np, name)
    steps = name in {"floor", "ceil", "trunc", "rint", "sign", "fix"}
    assert_traced(lambda p: f(p["x"]) + (p["x"] if steps else 0), x=X)


@pytest.mark.parametrize("name", BINARY.split())
def test_a_binary_ufunc_traces_on_both_sides(name):
    f = getattr(np, name)
    assert_traced(lambda p: f(p["x"], p["y"]) + p["x"], x=X, y=Y)
    assert_traced(lambda p: f(p["x"], Y) + p["x"], x=X)
    assert_traced(lambda p: f(X, p["y"]) + p["y"], y=Y)
    assert_traced(lambda p: f(2.0, p["y"]) + p["y"], y=Y)


OPERATORS = {
    "scalar left": lambda x: 2 - x,
    "numpy scalar left": lambda x: np.float64(2) / x,
    "numpy scalar right": lambda x: x * np.float32(2),
    "array left": lambda x: Y @ x.T,
    "array right": lambda x: x.T @ Y,
    "square": lambda x: x**2,
    "inverse root": lambda x: x**-0.5,
    "two to the": lambda x: 2**x,
    "negative": lambda x: -x,
    "positive": lambda x: +x * 1,
    "abs": lambda x: abs(x - 0.5),
    "mod": lambda x: x % 0.37,
    "floor division": lambda x: x // 0.37 + x,
    "divmod": lambda x: divmod(x, 0.37)[1],
    "modf": lambda x: np.modf(3 * x)[0],
    "bool mask": lambda x: x * (x > 0.6),
    "mask as float": lambda x: (x > 0.6).astype(float) * x,
    "list right": lambda x: x * [1.0, 2.0, 3.0, 4.0],
}


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_traces(name):
    assert_traced(lambda p: OPERATORS[name](p["x"]), x=X)


REDUCTIONS = {
    "sum": np.sum, "mean": np.mean, "std": np.std, "var": np.var, "prod": np.prod, "max": np.max, "min": np.min,
    "amax": np.amax, "median": np.median, "ptp": np.ptp, "nansum": np.nansum, "nanmean": np.nanmean,
    "nanmax": np.nanmax, "average": np.average, "add.reduce": np.add.reduce, "multiply.reduce": np.multiply.reduce,
    "maximum.reduce": np.maximum.reduce, "minimum.reduce": np.minimum.reduce,
    "logaddexp.reduce": np.logaddexp.reduce,
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"axis": 0}, {"axis": -1, "keepdims": True}], ids=str)
def test_a_reduction_traces(name, options):
    assert_traced(lambda p: REDUCTIONS[name](p["x"], **options), x=X)


MORE_REDUCTIONS = {
    "sum over a tuple of axes": lambda x: np.sum(x.reshape(3, 2, 2), axis=(0, 2)),
    "sum method": lambda x: x.sum(1),
    "mean method": lambda x: x.mean(axis=0, keepdims=True) * x,
    "var with ddof": lambda x: x.var(axis=0, ddof=1),
    "std method": lambda x: x.std(1),
    "max method": lambda x: x.max(1),
    "prod method": lambda x: x.prod(),
    "sum with where": lambda x: np.sum(x, where=MASK, axis=0),
    "sum with initial": lambda x: np.sum(x, initial=3.0),
    "max with initial": lambda x: np.max(x, initial=0.7, axis=1),
    "max with where": lambda x: np.max(x, where=x > 0.6, initial=0.0, axis=0),
    "weighted average": lambda x: np.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0]),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "cumsum flat": lambda x: np.cumsum(x),
    "cumprod method": lambda x: x.cumprod(axis=0),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x, axis=1),
    "add.accumulate": np.add.accumulate,
    "add.reduceat": lambda x: np.add.reduceat(x, [0, 2], axis=0),
    "subtract.outer": lambda x: np.subtract.outer(x[0], x[1]),
    "diff": lambda x: np.diff(x, axis=0),
    "second diff": lambda x: np.diff(x, 2, axis=1),
    "diff with prepend": lambda x: np.diff(x, axis=1, prepend=0.0),
    "ediff1d": np.ediff1d,
    "trapezoid": lambda x: np.trapezoid(x, dx=0.5),
    "trapezoid over x": lambda x: np.trapezoid(Y, x, axis=1),
    "sort": lambda x: np.sort(x, axis=0),
    "sort flat": lambda x: np.sort(x, axis=None),
    "partition": lambda x: np.partition(x, 1, axis=1)[:, :2],
    "quantile": lambda x: np.quantile(x, [0.1, 0.77], axis=1),
    "percentile": lambda x: np.percentile(x, 30),
    "norm": np.linalg.norm,
    "norm per row": lambda x: np.linalg.norm(x, axis=1, keepdims=True),
    "1-norm": lambda x: np.linalg.norm(x, 1, axis=1),
    "inf-norm": lambda x: np.linalg.norm(x, np.inf, axis=1),
    "3-norm": lambda x: np.linalg.norm(x[0], 3),
    "Frobenius norm": lambda x: np.linalg.norm(x, "fro"),
    "nuclear norm": lambda x: np.linalg.norm(x, "nuc"),
    "spectral norm": lambda x: np.linalg.norm(x, 2),
    "largest column sum": lambda x: np.linalg.norm(x, 1),
    "cov": np.cov,
    "corrcoef": lambda x: np.corrcoef(x),
    "convolve": lambda x: np.convolve(x[0], x[1, :3], "same"),
    "correlate": lambda x: np.correlate(x[0], [1.0, 2.0], "valid"),
    "interp": lambda x: np.interp([0.2, 1.3], [0.0, 1.0, 2.0], x[0, :3]),
    "interp at traced points": lambda x: np.interp(x, [0.0, 0.61, 2.0], [1.0, 4.0, 2.0]),
    "polyval": lambda x: np.polyval(x[0], 1.3),
    "vander": lambda x: np.vander(x[0], 3),
    "logsumexp by hand": lambda x: np.log(np.sum(np.exp(x - x.max()))) + x.max(),
}


@pytest.mark.parametrize("name", MORE_REDUCTIONS)
def test_a_function_over_axes_traces(name):
    assert_traced(lambda p: MORE_REDUCTIONS[name](p["x"]), x=X)


IDX = np.array([2, 0, 0])
MOVES = {
    "reshape": lambda x: x.reshape(2, -1),
    "reshape function": lambda x: np.reshape(x, (6, 2)),
    "Fortran order": lambda x: x.reshape(2, 6, order="F"),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "T": lambda x: x.T,
    "transpose": lambda x: x.reshape(3, 2, 2).transpose(2, 0, 1),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x.reshape(3, 2, 2), 0, -1),
    "squeeze": lambda x: np.squeeze(x[:, None]),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "broadcast_to": lambda x: np.broadcast_to(x[0], (2, 4)),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x[0], Y)[0],
    "atleast_2d": lambda x: np.atleast_2d(x[0]),
    "concatenate": lambda x: np.concatenate([x, Y, x[:1]], axis=0),
    "concatenate flat": lambda x: np.concatenate((x, x), axis=None),
    "stack": lambda x: np.stack([x[0], x[1]], axis=1),
    "vstack": lambda x: np.vstack([x, np.ones(4)]),
    "hstack": lambda x: np.hstack([x, np.ones((3, 1))]),
    "dstack": lambda x: np.dstack([x, Y]),
    "column_stack": lambda x: np.column_stack([x[:, 0], np.ones(3)]),
    "block": lambda x: np.block([[x, x], [Y, x]]),
    "append": lambda x: np.append(x, Y),
    "insert": lambda x: np.insert(x, 1, 5.0, axis=1),
    "delete": lambda x: np.delete(x, 1, axis=0),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "array_split": lambda x: np.array_split(x, 2)[0],
    "hsplit": lambda x: np.hsplit(x, 2)[0],
    "tile": lambda x: np.tile(x, (2, 1)),
    "repeat": lambda x: np.repeat(x, 2, axis=1),
    "repeat method": lambda x: x.repeat([1, 2, 3], axis=0),
    "roll": lambda x: np.roll(x, 1, axis=0),
    "flip": lambda x: np.flip(x, 1),
    "flipud": np.flipud,
    "rot90": np.rot90,
    "pad": lambda x: np.pad(x, ((1, 0), (0, 2))),
    "pad with a constant": lambda x: np.pad(x, 1, constant_values=3.0),
    "pad edge": lambda x: np.pad(x, 1, mode="edge"),
    "pad reflect": lambda x: np.pad(x, 1, mode="reflect"),
    "pad wrap": lambda x: np.pad(x, 2, mode="wrap"),
    "where": lambda x: np.where(x > 0.6, x, 0.01 * x),
    "where scalar": lambda x: np.where(MASK, 0, x),
    "clip": lambda x: np.clip(x, 0.5, 0.7),
    "clip method": lambda x: x.clip(0.5),
    "clip by keyword": lambda x: np.clip(x, a_min=0.5, a_max=None),
    "take": lambda x: np.take(x, IDX, axis=0),
    "take method": lambda x: x.take([0, 5]),
    "take_along_axis": lambda x: np.take_along_axis(x, IDX[:, None], axis=1),
    "choose": lambda x: np.choose([0, 1, 2, 0], x),
    "select": lambda x: np.select([x > 0.7, x > 0.5], [x, x**2], 1.0),
    "compress": lambda x: np.compress([True, False, True], x, axis=0),
    "compress method": lambda x: x.compress([True, False, True], axis=0),
    "extract": lambda x: np.extract(MASK, x),
    "diag of a vector": lambda x: np.diag(x[0]),
    "diag of a matrix": lambda x: np.diag(x),
    "diagonal": lambda x: np.diagonal(x, 1),
    "tril": lambda x: np.tril(x),
    "triu": lambda x: np.triu(x, 1),
    "meshgrid": lambda x: np.meshgrid(x[0], x[1])[1],
    "unique": np.unique,
    "ndarray.T in a chain": lambda x: x.T[::-1].reshape(2, 6)[:, ::2],
    "sliding windows": lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2)),
    "as_strided": lambda x: np.lib.stride_tricks.as_strided(x, (2, 3, 2), (x.strides[0], x.strides[1], x.strides[1])),
    "c_": lambda x: np.c_[x, np.ones(3)],
    "r_": lambda x: np.r_[x[0], 1.0, x[1]],
    "array of a list": lambda x: np.array([x[0, 0], 2.0, x[1, 1]]),
    "array of rows": lambda x: np.array([row * 2 for row in x]),
    "nested list": lambda x: np.array([[x[0, 0], x[0, 1]], [1, 2]]),
    "asarray": lambda x: np.asarray(x) * 2,
    "sum of a list": lambda x: np.sum([x[0, 0], x[1, 1] ** 2]),
    "builtin sum": lambda x: sum(x[0]),
    "builtin max": lambda x: max(x[0]) * 2,
    "piecewise": lambda x: np.piecewise(x, [x < 0.6, x >= 0.6], [lambda v: v**2, 1.0]),
    "apply_along_axis": lambda x: np.apply_along_axis(lambda r: r / r.sum(), 1, x),
    "vectorize": lambda x: np.vectorize(lambda v: v**2 if v > 0.6 else 3 * v)(x),
    "math functions": lambda x: np.array([math.exp(v) + math.sqrt(v) + math.pow(v, 3) for v in x[0]]),
    "dot": lambda x: np.dot(x, Y.T),
    "dot of stacks": lambda x: np.dot(x.reshape(3, 2, 2), Y.reshape(3, 2, 2)),
    "dot method": lambda x: x.dot(x.T),
    "inner": lambda x: np.inner(x, x),
    "outer": lambda x: np.outer(x[0], x[:, 1]),
    "vdot": lambda x: np.vdot(x, x),
    "matmul": lambda x: np.matmul(x, x.T),
    "matmul of a vector": lambda x: x @ x[0],
    "batched matmul": lambda x: x.reshape(3, 2, 2) @ Y.reshape(3, 2, 2),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, Y),
    "einsum implicit": lambda x: np.einsum("ij, jk", x, x.T),
    "einsum trace": lambda x: np.einsum("ii->i", x[:, :3]),
    "einsum labels": lambda x: np.einsum(x, [0, 1], Y, [2, 1], [0, 2]),
    "einsum ellipsis": lambda x: np.einsum("...j,j->...", x, x[0], optimize=True),
    "tensordot": lambda x: np.tensordot(x.reshape(3, 2, 2), Y, axes=([0], [0])),
    "tensordot by number": lambda x: np.tensordot(x, Y.T, 1),
    "kron": lambda x: np.kron(x[:2], Y[:, :2]),
    "trace": lambda x: np.trace(x),
    "cross": lambda x: np.cross(x[:, :3], Y[:, :3]),
    "heaviside": lambda x: np.heaviside(x - 0.6, 0.5) * x,
    "round": lambda x: np.round(x, 1) + x,
    "isnan": lambda x: np.where(np.isnan(x), 0, x),
    "argmax": lambda x: x[np.arange(3), np.argmax(x, axis=1)],
    "argsort": lambda x: x[:, np.argsort(x[0])],
    "bincount": lambda x: np.bincount([0, 1, 1, 3], weights=x[0]),
    "ufunc with where": lambda x: np.log(x, out=np.zeros_like(x), where=MASK),
    "divide where": lambda x: np.divide(1.0, x - X[0, 0], out=np.zeros((3, 4)), where=np.abs(x - X[0, 0]) > 1e-3),
    "ufunc with out": lambda x: np.exp(x, out=np.empty_like(x)),
    "any and all": lambda x: x * (2 if np.any(x > 0.9) or (x > 0).all() else 3),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_function_that_moves_or_combines_traces(name):
    assert_traced(lambda p: MOVES[name](p["x"]), x=X)


INDEXING = {
    "integer": lambda x: x[1],
    "two integers": lambda x: x[1, 2] * x[-1, -1],
    "negative step": lambda x: x[::-1, ::-2],
    "ellipsis": lambda x: x[..., 1],
    "newaxis": lambda x: x[:, None, 1:3],
    "boolean": lambda x: x[MASK],
    "its own mask": lambda x: x[x > 0.6],
    "row mask": lambda x: x[np.array([True, False, True])],
    "fancy": lambda x: x[IDX],
    "fancy pairs": lambda x: x[IDX, [1, 1, 3]],
    "fancy and slice": lambda x: x[IDX, 1:],
    "range": lambda x: x[range(3), [0, 1, 2]],
    "ix_": lambda x: x[np.ix_([0, 2], [1, 3])],
    "nonzero": lambda x: x[np.nonzero(x > 0.6)],
    "where indices": lambda x: x[np.where(x > 0.6)],
    "iteration": lambda x: sum(row[0] * k for k, row in enumerate(x)),
    "flat": lambda x: x.flat[3] * x.flat[1:3],
}


@pytest.mark.parametrize("name", INDEXING)
def test_an_index_traces(name):
    assert_traced(lambda p: INDEXING[name](p["x"]), x=X)


LINALG = {
    "inv": np.linalg.inv,
    "solve": lambda a: np.linalg.solve(a, Y[:, 0]),
    "solve matrix": lambda a: np.linalg.solve(a, Y),
    "solve traced right": lambda a: np.linalg.solve(M, a),
    "det": np.linalg.det,
    "slogdet": lambda a: np.linalg.slogdet(a)[1],
    "cholesky": lambda a: np.linalg.cholesky((a + a.T) / 2 + 4 * np.eye(3)),
    "cholesky of a triangle": lambda a: np.linalg.cholesky(a + 4 * np.eye(3)),
    "eigvalsh": lambda a: np.linalg.eigvalsh((a + a.T) / 2),
    "eigh": lambda a: np.linalg.eigh((a + a.T) / 2)[1],
    "svd": lambda a: np.linalg.svd(a[:, :2], full_matrices=False)[0],
    "singular values": lambda a: np.linalg.svd(a, compute_uv=False),
    "qr": lambda a: np.linalg.qr(a)[1],
    "pinv": lambda a: np.linalg.pinv(a[:, :2]),
    "matrix_power": lambda a: np.linalg.matrix_power(a, 3),
    "negative power": lambda a: np.linalg.matrix_power(a, -2),
    "multi_dot": lambda a: np.linalg.multi_dot([a, a, a]),
}


@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra_traces(name):
    assert_traced(lambda p: LINALG[name](p["a"]), a=M + S, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["expit", "log_expit", "erf", "erfc", "ndtr", "log_ndtr", "gammaln", "psi", "entr", "logit", "exprel"]
)
def test_a_function_of_scipy_special_traces(name):
    special = pytest.importorskip("scipy.special")
    assert_traced(lambda p: getattr(special, name)(p["x"]), x=X)


def test_softmax_and_logsumexp_of_scipy_trace():
    special = pytest.importorskip("scipy.special")
    assert_traced(lambda p: special.softmax(p["x"], axis=1), x=X)
    assert_traced(lambda p: special.log_softmax(p["x"], axis=1), x=X)
    assert_traced(lambda p: special.logsumexp(p["x"], axis=0, keepdims=True), x=X)
    assert_traced(lambda p: special.xlogy(p["x"], p["y"]), x=X, y=Y)
