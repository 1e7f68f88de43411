"""From ``package.module:name`` to a target that can be asked: it is imported, made if need be, and looked at."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gradverify import registry
from gradverify.conformance.target import Capabilities, Target, capabilities_of
from gradverify.errors import GradverifyError, UsageError
from gradverify.options import nearest
from gradverify.tracebacks import own_part
from gradverify.types import TRAITS

FORM = "a target is written package.module:name"
DTYPES = ("float64", "float32", "float16", "longdouble")  #: that NumPy arrays of the catalogue can be cast to


@functools.cache
def load_target(spec: str, device: str | None = None) -> Target:
    """The target that ``package.module:name`` names; a class or factory is called, with ``device=`` if it takes one.

    The folder where pytest was started is importable. Raises UsageError that says what is missing.
    """
    module_name, _, attribute = spec.partition(":")
    if "/" in module_name or module_name.endswith(".py"):
        dotted = ".".join(Path(module_name).with_suffix("").parts)
        raise UsageError(f"{FORM}, not {spec!r}; did you mean {dotted}:{attribute or 'target'}?")
    if not module_name or not attribute or ":" in attribute:
        raise UsageError(f"{FORM}, such as my_package.backend:target, not {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    found: Any = _imported(module_name, spec)
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [name for name in vars(found) if not name.startswith("_")]
            raise UsageError(f"the target {spec!r}: {_said(found)} has no {part!r}{nearest(part, known).rstrip(';')}")
        found = getattr(found, part)
    if isinstance(found, type) or not hasattr(found, "vjp"):
        return _made(found, spec, device)
    target = check_target(found, spec)
    if device not in (None, capabilities_of(target).devices[0]):
        raise UsageError(
            f"the target {spec!r} is an object, which was made on {capabilities_of(target).devices[0]}; "
            f"for --gradverify-device={device} name its class, or a function, that takes device="
        )
    return target


def _said(found: Any) -> str:
    return f"the module {found.__name__}" if isinstance(found, ModuleType) else f"a {type(found).__name__}"


def _imported(name: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"the target {spec!r} cannot be imported:\n{own_part(error)}") from error
        parent = name.rpartition(".")[0]
        hint = nearest(name, _siblings(parent)).rstrip(";") if error.name == name else ""
        raise UsageError(
            f"the target {spec!r} cannot be imported: there is no module {error.name!r}{hint}; "
            f"it is looked for in {Path.cwd()}, on PYTHONPATH, and among the installed packages"
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(f"the target {spec!r} cannot be imported:\n{own_part(error)}") from error


def _siblings(package: str) -> list[str]:
    path = getattr(sys.modules.get(package), "__path__", None) if package else [str(Path.cwd())]
    return [f"{package}.{found.name}".lstrip(".") for found in pkgutil.iter_modules(path)]


def _made(factory: Any, spec: str, device: str | None) -> Target:
    """What a class or a function makes. Raises UsageError with the user's own frames where it raises."""
    if not callable(factory):
        raise UsageError(
            f"the target {spec!r} is a {type(factory).__name__}: it has no vjp and cannot be called to make a target"
        )
    takes = _parameters(factory)
    needed = [name for name, needs in takes.items() if needs and name != "device"]
    if needed:
        raise UsageError(
            f"the target {spec!r} is called without arguments (or with device= alone), but it needs {', '.join(needed)}"
        )
    keywords = {"device": device or "cpu"} if takes.get("device") or ("device" in takes and device) else {}
    try:
        made = factory(**keywords)
    except GradverifyError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"the target {spec!r} cannot be made:\n{own_part(error)}") from error
    target = check_target(made, f"{spec}()")
    if device is not None and not keywords and device != capabilities_of(target).devices[0]:
        raise UsageError(
            f"the target {spec!r} does not take device=, so --gradverify-device={device} means nothing to it"
        )
    return target


def _parameters(factory: Callable[..., Any]) -> dict[str, bool]:
    """The named parameters, and whether each must be given."""
    try:
        found = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}
    named = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {p.name: p.default is p.empty for p in named}


def check_target(found: Any, spec: str) -> Target:
    """``found`` if it has the members of a target. Raises UsageError that names the one that is missing or wrong."""
    fault = next(_faults(found), None)
    if fault is not None:
        raise UsageError(f"the target {spec!r} {fault}")
    target: Target = found
    return target


def _faults(found: Any) -> Iterator[str]:
    name = getattr(found, "name", None)
    if isinstance(found, type):
        yield f"is the class {found.__name__}; make an object of it"
    if name is None or callable(name):
        yield f"has no name: a text ({_said(found)})"
    elif not isinstance(name, str) or not name.strip():
        yield f"has the name {name!r}; a name is a text that is not empty"
    for member, said in (
        ("supports", "a function of a case that returns True or False"),
        ("vjp", "a function of a case that returns (out, pullback)"),
    ):
        if not callable(getattr(found, member, None)):
            yield f"has no {member}: {said}"
    traits = getattr(found, "traits", ())
    if isinstance(traits, str) or not all(trait in TRAITS for trait in traits):
        yield f"has traits {traits!r}; traits is a set of some of {', '.join(TRAITS)}"
    yield from _lies(capabilities_of(found))


def _lies(said: Capabilities) -> Iterator[str]:
    """What in capabilities cannot mean anything."""
    for field, known in (("dtypes", DTYPES), ("devices", None)):
        values = getattr(said, field)
        if isinstance(values, str) or not values or not all(isinstance(v, str) for v in values):
            yield f"declares {field}={values!r}; write a tuple of names, such as ({(known or ('cpu',))[0]!r},)"
        elif known and (unknown := next((v for v in values if v not in known), None)):
            yield f"declares the dtype {unknown!r}{nearest(unknown, known)} known: {', '.join(known)}"
    if not isinstance(said.lacks, Mapping):
        yield f"declares lacks={said.lacks!r}; write a mapping of checks to reasons"
        return
    names = [*registry.check, *registry.invariant]
    for check, reason in said.lacks.items():
        if check not in names:
            yield f"declares that it lacks {check!r}{nearest(str(check), names)} see: gradverify list checks"
        elif not isinstance(reason, str) or not reason.strip():
            yield f"declares that it lacks {check!r} without a reason"
