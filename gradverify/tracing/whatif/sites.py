"""Which line of the user's code made a node of the graph, and which nodes are activations."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gradverify.tracing.escape import is_inside
from gradverify.tracing.lazy import Tensor, torch

KEY = "gradverify"  #: under which a node's metadata holds its site


@dataclass(frozen=True)
class Site:
    """A place in the user's code: ``inner`` the instruction, ``outer`` the call that it was reached by."""

    inner: tuple[Any, ...]
    outer: tuple[Any, ...]
    text: str


@dataclass(frozen=True)
class Mark:
    """``y = f(x)`` of one tracked argument. ``f`` is None where the derivative is not entry by entry."""

    name: str
    x: Tensor
    y: Tensor
    f: Callable[[Tensor], Tensor] | None


def here() -> Site | None:
    """The innermost frame that is the user's, and its caller's if that is the user's too."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    if frame is None or not _users(frame):
        return None
    back = frame.f_back
    outer = (back.f_code, back.f_lasti) if back is not None and _users(back) else ()
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    text = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" + (f" (`{source[:90]}`)" if source else "")
    return Site((frame.f_code, frame.f_lasti), outer, text)


def _users(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return not (is_inside(module) or module == "gradverify" or module.startswith("gradverify."))


def mark(value: Tensor) -> None:
    """Note the user's line on the node that made ``value``, unless it has one."""
    node = value.grad_fn
    if node is not None and KEY not in node.metadata:
        node.metadata[KEY] = here()


#: elementwise functions of torch, as they are called there
ELEMENTWISE = frozenset(
    [
        "tanh",
        "sigmoid",
        "relu",
        "exp",
        "log",
        "sqrt",
        "abs",
        "sin",
        "cos",
        "tan",
        "square",
        "erf",
        "softplus",
        "gelu",
        "silu",
        "mish",
        "elu",
        "selu",
        "celu",
        "leaky_relu",
        "leaky_relu_",
        "hardtanh",
        "relu6",
        "hardswish",
        "hardsigmoid",
        "softsign",
        "tanhshrink",
        "softshrink",
        "hardshrink",
        "logsigmoid",
        "log1p",
        "expm1",
        "rsqrt",
        "reciprocal",
        "clamp",
        "clip",
        "pow",
        "__pow__",
        "atan",
        "arctan",
        "sinh",
        "cosh",
        "square_",
        "tanh_",
        "relu_",
        "sigmoid_",
    ]
)


@contextmanager
def marked(marks: list[Mark]) -> Iterator[None]:
    """Every torch function called inside leaves its line on its result; elementwise ones are added to ``marks``."""
    from torch.overrides import TorchFunctionMode

    class Marking(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            result = func(*args, **kwargs)
            if isinstance(result, torch.Tensor):
                mark(result)
                marks.extend(_elementwise(func, result, args, kwargs))
            return result

    with Marking():
        yield


def _elementwise(func: Any, y: Tensor, args: Any, kwargs: Any) -> list[Mark]:
    """The mark of ``y = func(x, ...)`` if that is a known function entry by entry of one tracked argument."""
    name = getattr(func, "__name__", "")
    tracked = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor) and a.requires_grad]
    known = name in ELEMENTWISE and y.requires_grad and len(tracked) == 1 and args and args[0] is tracked[0]
    if not known or y.shape != tracked[0].shape or tracked[0].grad_fn is None:
        return []
    options = {k: v for k, v in kwargs.items() if k != "inplace"}
    return [Mark(name.strip("_"), tracked[0], y, lambda x: func(x, *args[1:], **options))]
