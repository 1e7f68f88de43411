"""An operation used twice in one graph: engines, functions, objects; and one tensor as two arguments."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(8)
X, W = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3))


def rows(subject, primals, check="shared-node", **more):
    return [f for f in gv.verify(subject, primals, checks=[check], **more).findings if f.check == check]


def verdicts(found):
    return {f.verdict.value for f in found}


class Node:
    """A tape in a few lines; with ``adds = False`` the gradient of the last use replaces the others."""

    adds = True

    def __init__(self, data, back=()):
        self.data, self.back = np.asarray(data, float), back
        self.grad = np.zeros_like(self.data)

    def take(self, g):
        self.grad = self.grad + g if self.adds else g

    def __add__(self, other):
        return type(self)(self.data + other.data, ((self, lambda g: g), (other, lambda g: g)))

    def __mul__(self, other):
        return type(self)(self.data * other.data, ((self, lambda g: g * other.data), (other, lambda g: g * self.data)))

    def sum(self):
        return type(self)(self.data.sum(), ((self, lambda g: g * np.ones_like(self.data)),))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent, _ in node.back:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.data)
        for node in reversed(order):
            for parent, pull in node.back:
                parent.take(pull(node.grad))


class Replacing(Node):
    adds = False


class ByLevels(Node):
    """Each node once, the nearest to the loss first: too early for one that is also farther away."""

    def backward(self):
        queue, seen = [self], {id(self)}
        self.grad = np.ones_like(self.data)
        while queue:
            node = queue.pop(0)
            for parent, pull in node.back:
                parent.take(pull(node.grad))
                if id(parent) not in seen:
                    seen.add(id(parent))
                    queue.append(parent)


@pytest.mark.parametrize(("node", "verdict"), [(Node, "pass"), (Replacing, "fail"), (ByLevels, "fail")])
def test_an_engine_that_replaces_gradients_or_goes_back_by_levels_fails_where_a_node_is_shared(node, verdict):
    subject = gv.tape(lambda x, w: x * w, wrap=node)
    assert verdicts(rows(subject, {"x": X, "w": X + 1})) == {verdict}


class Linear:
    """One cache, dW replaced."""

    def __init__(self):
        self.W, self.dW = W.copy(), np.zeros_like(W)

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, u):
        self.dW = self.x.T @ u
        return u @ self.W.T


class Stacked(Linear):
    """A cache per forward, the last one first, dW added up."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return x @ self.W

    def backward(self, u):
        self.dW += self.seen.pop().T @ u
        return u @ self.W.T


class Forgetful(Stacked):
    """Two forwards and the backward of the last are right; the cache of the first is damaged by it."""

    def backward(self, u):
        result = super().backward(u)
        self.seen = [x * 1.5 for x in self.seen]
        return result


def test_an_object_with_one_cache_is_not_used_twice():
    assert verdicts(rows(Linear(), {"x": X})) == {"skipped"}


def test_an_object_that_stacks_its_forwards_may_be_used_twice_and_says_that_it_adds():
    found = rows(Stacked(), {"x": X})
    assert verdicts(found) == {"pass"}
    assert any("adds up" in note for f in found if f.facts["primal"] == "W" for note in f.notes)


def test_an_object_that_spoils_the_earlier_forward_fails():
    assert "fail" in verdicts(rows(Forgetful(), {"x": X}))


@pytest.mark.parametrize(("layer", "said"), [(Linear, "replaced (=)"), (Stacked, "accumulated (+=)")])
def test_what_an_object_does_with_its_gradient_is_said(layer, said):
    notes = [n for f in rows(layer(), {"x": X}, "second-call-equal") if f.facts.get("primal") == "W" for n in f.notes]
    assert any(said in n for n in notes)


def test_one_output_buffer_spoils_the_input_of_the_next_use():
    buffer = np.zeros((4, 4))

    def forward(x, W):
        buffer[...] = x @ W
        return buffer, (x, W)

    found = rows((forward, lambda u, c: (u @ c[1].T, c[0].T @ u)), {"x": X[:4], "W": X[1:]})
    assert any("wrote into the output of an earlier one" in f.why for f in found)


def tied_product(blind):
    import torch

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.same = blind and a.data_ptr() == b.data_ptr()
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b, torch.zeros_like(g) if ctx.same else g * a

    return Product


@pytest.mark.parametrize(("blind", "verdict"), [(False, "pass"), (True, "fail")])
def test_one_tensor_as_two_arguments_of_a_torch_function_gets_the_sum(blind, verdict):
    assert verdicts(rows(tied_product(blind), {"a": X, "b": X + 1}, "same-array-twice")) == {verdict}
