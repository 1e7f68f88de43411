"""Iterations that stop at a loose tolerance: the gradient of the limit is right, as far as the tolerance allows."""

import numpy as np

from tests.corpus._items import twins

STOPS = {
    "largest_step": lambda new, z: np.max(np.abs(new - z)) < 1e-6,
    "every_step": lambda new, z: np.all(np.abs(new - z) < 1e-5),
    "allclose": lambda new, z: np.allclose(new, z, rtol=0, atol=1e-6),
    "squares": lambda new, z: ((new - z) ** 2).sum() < 1e-10,
    "relative_step": lambda new, z: np.linalg.norm(new - z) / np.linalg.norm(new) < 1e-4,
    "multiple_of_the_size": lambda new, z: np.linalg.norm(new - z) < 1e-5 * np.linalg.norm(new),
    "python_floats": lambda new, z: max(abs(float(p) - float(q)) for p, q in zip(new, z, strict=True)) < 1e-6,
}


def _equilibrium(stop):
    def forward(W, U, x):
        z = np.zeros(len(W))
        for _ in range(1000):
            new = np.tanh(W @ z + U @ x)
            done = stop(new, z)
            z = new
            if done:
                break
        return z, (W, U, x, z)

    return forward


def _implicit(d, cache, steps):
    """``steps`` terms of the Neumann series, the limit where that is None."""
    W, U, x, z = cache
    D = 1 - z * z
    J = D[:, None] * W
    s = np.linalg.solve((np.eye(len(z)) - J).T, d) if steps is None else d
    for _ in range(steps or 0):
        s = d + J.T @ s
    s = s * D
    return np.outer(s, z), np.outer(s, x), U.T @ s


def _point(rng):
    return {"W": 0.3 * rng.standard_normal((4, 4)), "U": rng.standard_normal((4, 3)), "x": rng.standard_normal(3)}


def _family(name, stop):
    @twins(
        name,
        why="implicit differentiation of a fixed point that was solved to a loose tolerance",
        bugs={
            "one-step": "one step of the iteration is differentiated",
            "two-steps": "a Neumann series of two terms",
        },
        tol=1e-2,
        step=1e-2,
    )
    def fixed_point(rng, bug):
        steps = {"": None, "one-step": 0, "two-steps": 2}[bug]
        return (_equilibrium(stop), lambda d, cache: _implicit(d, cache, steps)), _point(rng)


for _name, _stop in STOPS.items():
    _family(_name, _stop)


@twins(
    "backward_iterates_too",
    why="the adjoint is solved by an iteration with the same tolerance",
    bugs={"few": "the adjoint iteration ends after two steps"},
    tol=1e-4,
    step=1e-2,
)
def backward_iterates_too(rng, bug):
    def backward(d, cache):
        W, U, x, z = cache
        D = 1 - z * z
        s = d
        for _ in range(2 if bug else 100):
            new = d + (D[:, None] * W).T @ s
            done = np.max(np.abs(new - s)) < 1e-6
            s = new
            if done:
                break
        s = s * D
        return np.outer(s, z), np.outer(s, x), U.T @ s

    return (_equilibrium(STOPS["largest_step"]), backward), _point(rng)


@twins(
    "kepler_newton",
    why="Newton's method with a tolerance of 1e-4 is exact to 1e-12: its derivative is known as well as that",
    bugs={"small": "wrong by 1e-5", "denominator": "the denominator is missing in one of two"},
    tol=1e-6,
)
def kepler_newton(rng, bug):
    def forward(M, e):
        E = M.copy()
        for _ in range(50):
            dE = (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
            E = E - dE
            if np.max(np.abs(dE)) < 1e-4:
                break
        return E, (E, e)

    def backward(d, cache):
        E, e = cache
        q = d / (1 - e * np.cos(E))
        return q * (1 + 1e-5 * (bug == "small")), (d if bug == "denominator" else q) * np.sin(E)

    return (forward, backward), {"M": rng.uniform(0.2, 3, 5), "e": rng.uniform(0.1, 0.6, 5)}


@twins(
    "guard_is_no_iteration",
    why="a series below 1e-4: the branch belongs to the function, nothing is iterated",
    bugs={"flat": "backward takes the function for flat below the same threshold"},
)
def guard_is_no_iteration(rng, bug):
    def forward(t):
        out = 1 - t**2 / 6 if np.abs(t) < 1e-4 else np.sin(t) / t
        return out, t

    def backward(d, t):
        if np.abs(t) < 1e-4:
            return d * (0 * t if bug else -t / 3)
        return d * (t * np.cos(t) - np.sin(t)) / t**2

    return (forward, backward), {"t": np.array(7e-5)}
