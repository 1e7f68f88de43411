"""Optimizers kept on a layer are replaced by one that writes down the gradients it is given and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gradverify.adapters._store import Path, arrays, attributes, children, get
from gradverify.errors import Unsupported
from gradverify.types import Array

NAMED = re.compile(r"(^|_)opt(im|imi[sz]er)?(_?\w{1,3})?$|optimi[sz]er", re.IGNORECASE)
METHODS = ("update", "step", "apply_gradients", "apply", "update_params", "__call__")


class Recorder:
    """Stands in for an optimizer: ``update(w, gradient)`` keeps the pair and returns ``w`` unchanged.

    What else user code reads from its optimizer comes from the real one.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.places: list[str] = []  #: of each pair, the name of the attribute that the optimizer is kept in

    def note(self, place: str, pairs: list[tuple[Any, Any]]) -> None:
        """Write down what the optimizer at attribute ``place`` was given."""
        self.pairs += pairs
        self.places += [place] * len(pairs)


class Stand:
    """In the place of one optimizer."""

    def __init__(self, note: Callable[[list[tuple[Any, Any]]], None], real: Any) -> None:
        # functions, so that whoever looks for arrays on the user's object finds none here
        self._note: Callable[[list[tuple[Any, Any]]], None] = note
        self._read: Callable[[str], Any] = lambda name: getattr(real, name)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """Accepts ``(w, g)``, ``(params, grads)`` as dicts or lists, with further arguments ignored."""
        found = [a for a in (*args, *kwargs.values()) if isinstance(a, (np.ndarray, Mapping, list, tuple, float))]
        if len(found) >= 2:
            w, g = found[:2]
            pairs = [(w, g)]
            if isinstance(w, Mapping) and isinstance(g, Mapping):
                pairs = [(w[k], g[k]) for k in w if k in g]
            elif isinstance(w, (list, tuple)) and isinstance(g, (list, tuple)):
                pairs = list(zip(w, g, strict=False))
            self._note(pairs)
            return w
        return args[0] if args else None

    step = apply_gradients = apply = update_params = __call__ = update

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._read(name)


def install(root: Any, constants: Mapping[str, Any]) -> tuple[Recorder | None, Mapping[str, Any]]:
    """Put one recorder in every place of ``root`` that holds an optimizer, or None under an optimizer's name.

    Returns it (None if there is no such place) and the constants, among which it takes the place of optimizers too.
    """
    recorder = Recorder()
    handed = {n: v for n, v in constants.items() if NAMED.search(n) and v is not None and _replaceable(v)}
    constants = {**constants, **{n: Stand(partial(recorder.note, n), v) for n, v in handed.items()}}
    installed = bool(handed)

    def visit(node: Any, above: frozenset[int]) -> None:
        nonlocal installed
        for (kind, key), child in children(node).items():
            if isinstance(child, (np.ndarray, str, bytes, int, float)) or id(child) in above:
                continue
            if kind == "attribute" and NAMED.search(str(key)) and _replaceable(child):
                object.__setattr__(node, key, Stand(partial(recorder.note, str(key)), child))
                installed = True
            elif child is not None and len(above) < 8:
                visit(child, above | {id(child)})

    visit(root, frozenset({id(root)}))
    return (recorder if installed else None), constants


def _replaceable(child: Any) -> bool:
    if child is None:
        return True
    return bool(attributes(child) or hasattr(child, "__class__")) and any(
        callable(getattr(child, m, None)) for m in METHODS[:3]
    )


def recorded(recorder: Recorder, root: Any, paths: Mapping[str, tuple[Path, ...]]) -> dict[str, Array]:
    """The recorded gradients by parameter: the very array that was handed over, else the only one of its shape.

    Two parameters that are one array are told apart by the names of their optimizers (``gamma``, ``gamma_opt``).
    Raises Unsupported where that is impossible.
    """
    found: dict[str, Array] = {}
    for name, where in paths.items():
        value = get(root, where[0])
        mine = [(g, place) for (w, g), place in zip(recorder.pairs, recorder.places, strict=True) if w is value]
        twins = [n for n, other in paths.items() if n != name and get(root, other[0]) is value]
        if twins and len(mine) > 1:
            last = str(where[0][-1][1]).casefold()
            mine = [(g, place) for g, place in mine if last in place.casefold().split("_")]
            if not mine:
                raise Unsupported(f"{name} and {twins[0]} are one array: their optimizer cannot tell them apart")
        own = [g for g, _ in mine]
        alike = [g for w, g in recorder.pairs if np.shape(w) == np.shape(value)]
        if own or len(alike) == 1:
            found[name] = (own or alike)[-1]
    return found


def handed_over(recorder: Recorder, root: Any) -> set[Path]:
    """The paths of the arrays that the recorder was given as parameters."""
    ids = {id(w) for w, _ in recorder.pairs}
    return {p for p, v in arrays(root).items() if id(v) in ids}
