"""Primals in dicts and lists: ``{"params": {"l1": {"W": W, "b": b}}}`` or ``{"weights": [W1, W2]}``.

Inside gradverify a primal is an array with a name. A container is taken apart into such primals (``l1_W``, ``l1_b``;
``weights_0``, ``weights_1``). The user's functions are wrapped in ones that take these and put the container together
again; what comes back is taken apart.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._bind import signature, slots
from gradverify.adapters._gradients import spelled
from gradverify.adapters._trees import Container, Leaf, is_container, paths_of, tree_of
from gradverify.errors import UsageError


class Containers:
    """The containers among the primals of one call, by the name of the primal.

    primals, constants  the names of all that is handed over, as the user gave them
    """

    def __init__(self, found: Mapping[str, Container], primals: Collection[str], constants: Collection[str]) -> None:
        self._found, self._primals, self._constants = dict(found), list(primals), list(constants)
        #: of the forward, by the name of the primal; those that go by position are known once it is wrapped
        self._parameters = {k: k for k in self._primals}
        self._stand: dict[int, list[str]] = {}  #: where containers stand in a tuple of so many: seen the first time

    def arrays_of(self, names: Sequence[str] | str | None) -> Sequence[str] | None:
        """The names of all arrays of the containers among the names; any other name stands for itself."""
        if names is None:
            return None
        found: list[str] = []
        for n in (names,) if isinstance(names, str) else names:
            found += [f.name for f in self._found[n].leaves] if n in self._found else [n]
        return found

    def subject(self, subject: Any) -> Any:
        """The subject over arrays. Raises UsageError where its arguments are not those of a function."""
        if isinstance(subject, (tuple, list)) and len(subject) == 2 and all(callable(f) for f in subject):
            return self.forward(subject[0]), self.backward(subject[1])
        if hasattr(subject, "over_arrays"):
            return subject.over_arrays(self)
        if inspect.isfunction(subject) or inspect.ismethod(subject) or isinstance(subject, functools.partial):
            return self.loss_and_gradients(subject)
        raise self.refusal(getattr(subject, "__name__", type(subject).__name__))

    def refusal(self, who: str) -> UsageError:
        """What is said where a subject is no function."""
        name, container = next(iter(self._found.items()))
        return UsageError(
            f"primal {name!r} is a {type(container.tree).__name__} of arrays, which functions may take, and {who} is "
            f"none; give each array a name of its own: {{{container.leaves[0].name!r}: ...}}"
        )

    def forward(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A forward over arrays: what it returns is not touched. Raises AdapterError where its arguments do not fit."""
        sig = signature(fn)
        places = slots(sig, self._primals, self._constants, who="forward", spare=self._constants)
        self._parameters = {k: places.get(k) or k for k in self._primals}
        return self._over_arrays(fn, lambda result: result)

    def backward(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """A backward over arrays: what it returns is taken apart."""
        return self._over_arrays(fn, self.taken_apart)

    def loss_and_gradients(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``(loss, gradients)`` or ``(out, pullback)`` over arrays; an output alone stays what it is."""

        def after(result: Any) -> Any:
            if not isinstance(result, tuple) or len(result) < 2:
                return result
            out, *found = result
            if len(found) == 1 and callable(found[0]):
                return out, lambda *args, **kwargs: self.taken_apart(found[0](*args, **kwargs))
            gradients = self.taken_apart(found[0] if len(found) == 1 else tuple(found))
            return (out, *gradients) if isinstance(gradients, tuple) and len(found) > 1 else (out, gradients)

        self.forward(fn)  # finds the parameters
        return self._over_arrays(fn, after)

    def taken_apart(self, result: Any) -> Any:
        """Gradients as a user returned them, each container among them as names and arrays."""
        if isinstance(result, Mapping):
            return self._by_name(result)
        if not isinstance(result, (tuple, list)):
            return result
        if len(self._found) == len(self._primals) == 1:
            (container,) = self._found.values()
            if (whole := container.taken_apart(result)) is not None:
                return whole
        return tuple(self._in_order(result))

    def _by_name(self, result: Mapping[Any, Any]) -> dict[str, Any]:
        left, found = {str(k): v for k, v in result.items()}, dict[str, Any]()
        for name, container in self._found.items():
            key = next((k for n in (name, self._parameters[name]) if (k := spelled(n, list(left)))), None)
            parts = None if key is None else container.taken_apart(left[key])
            if parts is None and (parts := container.taken_apart(left)) is not None:
                own = container.tree if isinstance(container.tree, Mapping) else {}
                for k in own:
                    left.pop(spelled(str(k), list(left)) or "", None)
            elif parts is not None and key is not None:
                del left[key]
            found |= parts or {}
        return {**left, **found}

    def _in_order(self, result: Any) -> Iterator[Any]:
        """The arrays of a tuple, each container's in their own order, and the containers in the order of the primals.

        Of several alike a container is the one that the shapes fit: ``(nabla_b, nabla_w)``.
        """
        if len(result) not in self._stand:
            self._stand[len(result)] = self._seen_in(result)
        stand = self._stand[len(result)]
        apart = {k: self._found[k].taken_apart(part) for k, part in zip(stand, result, strict=True) if k}
        ordered = iter([k for k in self._found if k in apart])
        for k, part in zip(stand, result, strict=True):
            name = next(ordered) if k else ""
            found = apart[name] if k else None
            yield from (found[f.name] for f in self._found[name].leaves) if found is not None else [part]

    def _seen_in(self, result: Any) -> list[str]:
        """The container that each part of a tuple belongs to, "" for none."""
        free, stand = dict(self._found), []
        for part in result:
            several = isinstance(part, (Mapping, list, tuple))
            alike = [k for k, c in free.items() if several and c.taken_apart(part) is not None]
            stand.append(next((k for k in alike if free[k].fits(part)), next(iter(alike), "")))
            free.pop(stand[-1], None)
        return stand

    def _over_arrays(self, fn: Callable[..., Any], after: Callable[[Any], Any]) -> Callable[..., Any]:
        """``fn`` with a parameter for each array in place of the one for their container."""
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):
            return fn
        mine = {self._parameters[k]: c for k, c in self._found.items()}
        names = {p: k for k, p in self._parameters.items()}  #: of what goes by position, its own
        new: list[inspect.Parameter] = []
        for p in parameters:
            default = p.default if p.default is p.empty else None
            own = [f.name for f in mine[p.name].leaves] if p.name in mine else []
            new += [p.replace(name=n, default=default) for n in own] or [p.replace(name=names.get(p.name, p.name))]
        taken = inspect.Signature(new)

        @functools.wraps(fn)
        def over_arrays(*args: Any, **kwargs: Any) -> Any:
            given = taken.bind(*args, **kwargs).arguments
            by_position: list[Any] = []
            by_name: dict[str, Any] = {}
            for p in parameters:
                if p.kind is p.VAR_KEYWORD:
                    by_name |= given.get(p.name, {})
                elif p.kind is p.VAR_POSITIONAL:
                    by_position += given.get(p.name, ())
                elif p.name in mine or names.get(p.name, p.name) in given:
                    value = mine[p.name].filled(given) if p.name in mine else given[names.get(p.name, p.name)]
                    if p.kind is p.KEYWORD_ONLY or by_name:
                        by_name[p.name] = value
                    else:
                        by_position.append(value)
                elif p.kind is p.POSITIONAL_OR_KEYWORD:
                    by_name[p.name] = p.default  # one that is left out: what follows goes by name
            return after(fn(*by_position, **by_name))

        over_arrays.__signature__ = taken  # type: ignore[attr-defined]  # what inspect.signature reads first
        return over_arrays


def unpacked(
    primals: Mapping[str, Any], constants: Mapping[str, Any] | None, subject: Any
) -> tuple[dict[str, Any], Containers | None]:
    """The primals with every container taken apart, and how to call the subject with them; None without containers.

    Raises UsageError for a container without an array.
    """
    if not isinstance(primals, Mapping) or not any(is_container(v) for v in primals.values()):
        return primals, None  # type: ignore[return-value]  # what is no mapping is refused where arrays are made
    constants = constants if isinstance(constants, Mapping) else {}  # what is no mapping is refused elsewhere
    functions = subject if isinstance(subject, (tuple, list)) else (subject,)
    taken = {*primals, *constants, *(n for f in functions if callable(f) for n in signature(f).names)}
    flat: dict[str, Any] = {}
    found: dict[str, Container] = {}
    for name, value in primals.items():
        if not is_container(value):
            flat[name] = value
            continue
        paths = dict(paths_of(value, ()))
        if not paths:
            raise UsageError(f"primal {name!r} is a {type(value).__name__} without an array in it")
        plain = {path: "_".join(path) for path in paths}
        listed = not isinstance(value, Mapping) or len(set(plain.values())) < len(plain)
        if listed or taken & set(plain.values()) or not all(n.isidentifier() for n in plain.values()):
            plain = {path: "_".join((str(name), *path)) for path in paths}
        taken |= set(plain.values())
        leaves = {path: Leaf(plain[path], shape_of(v)) for path, v in paths.items()}
        flat |= {plain[path]: v for path, v in paths.items()}
        found[str(name)] = Container(tree_of(value, (), leaves), tuple(leaves.values()))
    return flat, Containers(found, [str(k) for k in primals], list(constants))
