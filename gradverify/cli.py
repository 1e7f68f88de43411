"""The command line. One file of ``gradverify/commands`` per command; exit status 0, 1, 2, 3 or 5.

0 all judged passed; 1 a fail (or, in ``compare``, something got worse); 2 the command line asks for something that does
not exist; 3 an error: code that does not import, cannot be driven, or crashes; 5 nothing was judged.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gradverify.commands._say import say
from gradverify.errors import GradverifyError, UsageError
from gradverify.options import nearest, seed

#: Commands in the order of the help; the module says the rest.
COMMANDS = {
    "check": "verify every @gv.subject of files and folders",
    "list": "what there is: checks, oracles, adapters, causes, ...",
    "explain": "what a check, cause, oracle, verdict ... means",
    "render": "a saved report in another format",
    "compare": "what changed between two saved reports",
    "new": "a working skeleton of a check, adapter, oracle, ... with its test",
}

#: Commands that live with the study they run: ``add_arguments(parser)`` (if it has one) and ``main(args) -> int``.
STUDIES = {
    "report": ("gradverify.studies.accuracy", "the gradient-accuracy table: adapter x op x dtype"),
    "grade": ("gradverify.studies.grade", "grade a folder of submissions"),
    "power": ("gradverify.studies.power", "which planted bugs are caught, and how small they may be"),
    "calibration": ("gradverify.studies.calibration", "do finite differences err as much as they claim"),
    "flow": ("gradverify.studies.flow", "how gradients flow through the depth of a network"),
    "cost": ("gradverify.studies.cost", "what forward, backward and differences cost, and should"),
}


class Parser(argparse.ArgumentParser):
    """Errors as one line on stderr and exit status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def available() -> dict[str, str]:
    """Commands with their help; a study that is not installed is not listed."""
    return COMMANDS | {name: text for name, (module, text) in STUDIES.items() if _exists(module)}


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def parser_for(command: str | None) -> Parser:
    """The parser with all commands named; only the chosen one's module is imported and declares its options."""
    parser = Parser(
        prog="gradverify", description="Is the gradient right, how sure are we, where is it wrong, and why."
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)
    for name, text in available().items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            _declare(sub, name)
    return parser


def _declare(parser: argparse.ArgumentParser, name: str) -> None:
    if name in COMMANDS:
        module = importlib.import_module(f"gradverify.commands.{name}")
        module.add_arguments(parser)
    else:
        module = importlib.import_module(STUDIES[name][0])
        if hasattr(module, "add_arguments"):
            module.add_arguments(parser)
        else:
            parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
            parser.add_argument("--seed", type=seed, default=0, metavar="N", help="the address of all randomness")
    parser.set_defaults(run=module.main)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status; never raises, never shows a traceback without ``-v``."""
    given = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in given if not word.startswith("-")), None)
    if command is not None and command not in available():
        print(
            f"gradverify: no command is called {command!r}{nearest(command, available())} "
            f"known: {', '.join(available())}",
            file=sys.stderr,
        )
        return 2
    try:
        args = parser_for(command).parse_args(given)
    except SystemExit as done:  # argparse has printed its help or its one line
        return int(done.code or 0)
    if args.version:
        from importlib import metadata

        print(f"gradverify {metadata.version('gradverify')}")
        return 0
    if args.command is None:
        parser_for(None).print_help()
        return 2
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    verbose = bool(getattr(args, "verbose", 0))
    try:
        status: Any = args.run(args)
        return int(status)
    except UsageError as error:
        say(error, verbose)
        return 2
    except GradverifyError as error:
        say(error, verbose)
        return 3
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as head, has seen enough
            sys.stderr.close()
            return 0
        say(UsageError(str(error)), verbose)
        return 2
    except KeyboardInterrupt:
        print("gradverify: interrupted", file=sys.stderr)
        return 130
