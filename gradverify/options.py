"""The options that the command line and the pytest plugin share: one definition, two doors.

``add(parser.add_argument)`` gives ``--level``; ``add(group.addoption, prefix="gradverify-")``, ``--gradverify-level``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

LEVELS = ("quick", "standard", "thorough")
DTYPES = ("float16", "bfloat16", "float32", "float64", "longdouble", "complex64", "complex128")
DEVICE = re.compile(r"[a-z]+(:\d+)?")


def one_of(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """An argparse type: one of ``known``, else an error that names the nearest."""
    listed = tuple(known)

    def convert(text: str) -> str:
        if text in listed:
            return text
        raise argparse.ArgumentTypeError(
            f"no {what} is called {text!r}{nearest(text, listed)} known: {', '.join(listed)}"
        )

    return convert


def nearest(text: str, known: Iterable[str]) -> str:
    """``; did you mean 'quick'?``, or ``;`` when nothing is near."""
    close = get_close_matches(text, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ";"


def seed(text: str) -> int:
    """An argparse type: a whole number that is not negative."""
    if not re.fullmatch(r"\d+", text):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 up, not {text!r}")
    return int(text)


def device(text: str) -> str:
    """An argparse type: ``cpu``, ``cuda``, ``cuda:1`` and the like."""
    if not DEVICE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a device is cpu, cuda or cuda:N, not {text!r}")
    return text


level = one_of("level", LEVELS)
dtype = one_of("dtype", DTYPES)

SHARED: tuple[tuple[str, Callable[[str], Any], str, str], ...] = (
    ("level", level, "LEVEL", "how much is asked: quick, standard (the default) or thorough"),
    ("seed", seed, "N", "the address of all randomness; the same seed repeats a run exactly (default 0)"),
    ("device", device, "DEVICE", "where torch implementations run: cpu (the default), cuda, cuda:1"),
    ("dtype", dtype, "DTYPE", "cast floating-point primals to this dtype before the implementation sees them"),
)

NAMES = tuple(name for name, *_ in SHARED)


def fault(name: str, value: Any) -> str:
    """What is wrong with a keyword of ``gv.verify`` that a marker gives; "" when nothing is."""
    if name in ("checks", "oracles"):
        listed = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        return "" if listed else f"{name} is a list of names, such as ['shape'], not {value!r}"
    if name == "tolerance":
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
        return "" if number else f"tolerance is a number from 0 up, not {value!r}"
    if name == "seed" and (not hasattr(value, "__index__") or isinstance(value, bool)):
        return f"a seed is a whole number from 0 up, not {value!r}"
    convert = next(convert for known, convert, _, _ in SHARED if known == name)
    try:
        convert(str(value))
    except argparse.ArgumentTypeError as error:
        return str(error)
    return ""


def add(add_argument: Callable[..., Any], prefix: str = "") -> None:
    """Declare the shared options; none given is ``None``, so that defaults stay where they are defined."""
    for name, convert, metavar, text in SHARED:
        add_argument(f"--{prefix}{name}", type=convert, default=None, metavar=metavar, help=text)
