"""The rules of differentiation. Derivation, section 'Calculus Review: Derivatives and the Chain Rule'.

A function of one variable is an op ``x -> (f(x), pullback)`` with ``pullback(u) -> (u f'(x),)``, applied to every
entry of ``x`` of any shape. A rule takes such functions and returns one, so the rules compose like the formulas do.
Gradients and Jacobians are in ``jacobians``.
"""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Function, Pullback, cotangent, fit, leading, real


def power(x: ArrayLike, *, n: float = 2) -> tuple[Array, Pullback]:
    """f(x) = x^n, f'(x) = n x^(n-1). Derivation, section 'Single-Variable Derivatives', rule 1.

    x  any shape; where x^n is not a real number the result is NaN, at x = 0 with n < 0 it is inf.
    """
    x, n = real("x", x), float(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.asarray(x**n)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = n * x ** (n - 1) if n else np.zeros_like(x)  # x^0 is the constant 1, also at x = 0
            return (fit(cotangent(upstream, y) * slope, x),)

    return y, pullback


def exponential(x: ArrayLike) -> tuple[Array, Pullback]:
    """f(x) = e^x, f'(x) = e^x. x  any shape. Derivation, section 'Single-Variable Derivatives', rule 2."""
    x = real("x", x)
    y = np.asarray(np.exp(x))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, y) * y, x),)

    return y, pullback


def logarithm(x: ArrayLike) -> tuple[Array, Pullback]:
    """f(x) = ln x, f'(x) = 1/x. x  any shape; NaN where x < 0, -inf and inf at 0.

    Derivation, section 'Single-Variable Derivatives', rule 3.
    """
    x = real("x", x)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.asarray(np.log(x))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(x >= 0, 1 / x, np.nan)  # 1/x goes on where ln x does not
            return (fit(cotangent(upstream, y) * slope, x),)

    return y, pullback


def constant(x: ArrayLike, *, c: float = 1.0) -> tuple[Array, Pullback]:
    """f(x) = c, f'(x) = 0: zeros, which is not "no derivative". x  any shape.

    Derivation, section 'Single-Variable Derivatives', rule 4.
    """
    x = real("x", x)
    y = np.full_like(x, float(c))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, y) * 0, x),)

    return y, pullback


def constant_multiple(c: float, g: Function) -> Function:
    """f(x) = c g(x), f'(x) = c g'(x). Derivation, section 'Single-Variable Derivatives', rule 5."""
    c = float(c)

    def f(x: ArrayLike) -> tuple[Array, Pullback]:
        value, g_back = g(x)
        y = np.asarray(c * value)

        def pullback(upstream: ArrayLike) -> tuple[Array]:
            return (g_back(c * cotangent(upstream, y))[0],)

        return y, pullback

    return f


def sum_rule(g: Function, h: Function) -> Function:
    """f(x) = g(x) + h(x), f'(x) = g'(x) + h'(x). Derivation, section 'Single-Variable Derivatives', rule 6."""
    return derivative_of_a_sum(g, h)


def derivative_of_a_sum(*terms: Function) -> Function:
    """The sum z = sum_i f_i(x), dz/dx = sum_i df_i/dx; at least one term. Derivation, section 'Derivative of a Sum'."""
    _some("terms", terms)

    def f(x: ArrayLike) -> tuple[Array, Pullback]:
        x = real("x", x)
        values, backs = zip(*(term(x) for term in terms), strict=True)
        y = np.asarray(np.sum(values, axis=0))

        def pullback(upstream: ArrayLike) -> tuple[Array]:
            u = cotangent(upstream, y)
            return (fit(np.sum([back(u)[0] for back in backs], axis=0), x),)

        return y, pullback

    return f


def chain_rule(g: Function, f: Function) -> Function:
    """The composition y = g(u) with u = f(x): dy/dx = dy/du du/dx. Derivation, section 'The Chain Rule'."""
    return extended_chain_rule(g, f)


def extended_chain_rule(*functions: Function) -> Function:
    """The composition z = h(g(f(x))) for ``extended_chain_rule(h, g, f)``, of any length: dz/dx = dz/dy dy/du du/dx.

    The pullback starts at the outermost factor, as backpropagation does. Derivation, section 'The Chain Rule'.
    """
    _some("functions", functions)

    def composition(x: ArrayLike) -> tuple[Array, Pullback]:
        value = real("x", x)
        backs = []
        for function in reversed(functions):  # innermost first
            value, back = function(value)
            backs.append(back)

        def pullback(upstream: ArrayLike) -> tuple[Array]:
            gradient = upstream
            for back in reversed(backs):  # outermost first
                gradient = back(gradient)[0]
            return (np.asarray(gradient),)

        return value, pullback

    return composition


def multivariable_chain_rule(f: Function, *g: Function) -> Function:
    """The composition z = f(y_1, ..., y_m) with y_j = g_j(x): dz/dx_i = sum_j dz/dy_j dy_j/dx_i.

    f  an op of m arguments, g_j ops of one; x  (n,) or any shape that the g_j take.
    Derivation, section 'Multivariable Derivatives'.
    """
    _some("g", g)

    def composition(x: ArrayLike) -> tuple[Array, Pullback]:
        x = real("x", x)
        y, backs = zip(*(g_j(x) for g_j in g), strict=True)
        z, f_back = f(*y)

        def pullback(upstream: ArrayLike) -> tuple[Array]:
            dz_dy = f_back(upstream)
            paths = [back(dy)[0] for back, dy in zip(backs, dz_dy, strict=True)]
            return (fit(np.sum(paths, axis=0), x),)

        return z, pullback

    return composition


def product(p: ArrayLike, q: ArrayLike) -> tuple[Array, Pullback]:
    """The product z = p q, dz/dp = q, dz/dq = p. p, q  any shapes that fit.

    A function of two variables for the rule above. Derivation, section 'Multivariable Derivatives'.
    """
    p, q = real("p", p), real("q", q)
    leading(p=(p, 0), q=(q, 0))
    z = np.asarray(p * q)

    def pullback(upstream: ArrayLike) -> tuple[Array, Array]:
        u = cotangent(upstream, z)
        return fit(u * q, p), fit(u * p, q)

    return z, pullback


def line(slope: float, intercept: float) -> Function:
    """f(x) = slope x + intercept, by the rules 1, 4, 5 and 6."""
    return sum_rule(constant_multiple(slope, lambda x: power(x, n=1)), lambda x: constant(x, c=intercept))


def worked_example(x: ArrayLike) -> tuple[Array, Pullback]:
    """The example y = (3x + 5)^2, dy/dx = 18x + 30, by the chain rule y = u^2, u = 3x + 5. x  any shape.

    Derivation, section 'The Chain Rule', example.
    """
    return chain_rule(power, line(3.0, 5.0))(x)


def _some(name: str, functions: tuple[Function, ...]) -> None:
    if not functions:
        raise ValueError(f"{name}: none given, expected at least one function")
