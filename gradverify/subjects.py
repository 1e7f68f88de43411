"""Files with subjects: ``@gv.subject`` marks what ``gradverify check FILE`` and pytest shall verify.

    @gv.subject
    def affine_layer(rng):
        return (affine_forward, affine_backward), {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((3, 4))}

A subject is a function of a random generator that returns ``(subject, primals)`` or ``(subject, primals, constants)``,
as ``gv.verify`` takes them. Keywords of ``gv.verify`` can be given to the decorator.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import sys
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, overload

from gradverify.errors import AdapterError, GradverifyError, UsageError

F = TypeVar("F", bound=Callable[..., Any])

#: The attribute that the decorator leaves on the function.
MARK = "__gradverify_subject__"

#: Keywords of ``gv.verify`` that a decorator may fix.
KEYWORDS = frozenset(
    {"upstream", "wrt", "checks", "oracles", "level", "device", "dtype", "tolerance", "surrogate", "seed"}
)


@overload
def subject(fn: F, /) -> F: ...
@overload
def subject(*, name: str | None = None, **keywords: Any) -> Callable[[F], F]: ...
def subject(fn: F | None = None, /, *, name: str | None = None, **keywords: Any) -> F | Callable[[F], F]:
    """Mark a function of ``rng`` that returns ``(subject, primals)`` or ``(subject, primals, constants)``.

    ``@gv.subject`` or ``@gv.subject(name=..., level=..., seed=..., dtype=...)``; the function stays what it was.
    Raises UsageError for a keyword that ``gv.verify`` does not have, a function that does not take ``rng``, a method.
    """
    unknown = set(keywords) - KEYWORDS
    if unknown:
        raise UsageError(
            f"@gv.subject does not know {', '.join(sorted(unknown))}; known: {', '.join(sorted(KEYWORDS))}"
        )

    def mark(function: F) -> F:
        if not inspect.isfunction(function):
            raise UsageError(f"@gv.subject marks functions, not a {type(function).__name__}; write def name(rng): ...")
        inside = function.__qualname__.rpartition(".")[0]
        if inside and not inside.endswith("<locals>"):
            said = function.__qualname__
            raise UsageError(f"@gv.subject marks functions of a module, and {said} is in a class; move it out")
        if not _takes_rng(function):
            raise UsageError(f"@gv.subject: {function.__name__} must take one argument, the random generator rng")
        setattr(function, MARK, {"name": name or function.__name__, "keywords": keywords})
        return function

    return mark if fn is None else mark(fn)


def _takes_rng(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A marked function with the file that it came from and the keywords that it brings for ``gv.verify``."""

    name: str
    make: Callable[[Any], Any]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    source: SubjectFile | None = None

    def draw(self, seed: int) -> tuple[Any, Any, Any]:
        """``(subject, primals, constants or None)`` for a seed. Raises UsageError for any other shape of answer."""
        from gradverify.types import rng_for

        made = self.make(rng_for(seed, self.name))
        if not isinstance(made, tuple) or len(made) not in (2, 3):
            what = f"a tuple of {len(made)}" if isinstance(made, tuple) else f"a {type(made).__name__}"
            raise UsageError(
                f"{self.name} returned {what}; a subject returns (subject, primals) or (subject, primals, constants), "
                "where primals maps names to arrays"
            )
        return (*made, None) if len(made) == 2 else made


def marked(function: object) -> Subject | None:
    """The Subject behind a marked function, else None."""
    mark = vars(function).get(MARK) if inspect.isfunction(function) else None
    return None if mark is None else Subject(name=mark["name"], make=function, keywords=mark["keywords"])  # type: ignore[arg-type]  # isfunction narrows too late for mypy


class SubjectFile:
    """A user's Python file, loaded under a name of its own; its folder is importable while its code runs.

    Two files may each have a neighbour called ``layers.py``: what a file imported from its folder is taken out of
    ``sys.modules`` afterwards and put back whenever its code runs again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.module_name = f"_gradverify_{path.stem}_{zlib.crc32(str(path.resolve()).encode()):08x}"
        self._own: dict[str, ModuleType] = {}

    @contextlib.contextmanager
    def importable(self) -> Iterator[None]:
        """The folder is first on ``sys.path`` and the file's own modules are in ``sys.modules``."""
        before = dict(sys.modules)
        sys.modules.update(self._own)
        sys.path.insert(0, str(self.folder))
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # the user's code may have rearranged the path itself
                sys.path.remove(str(self.folder))
            self._own = {name: m for name, m in sys.modules.items() if before.get(name) is not m and self._owns(m)}
            for name in self._own:
                if name in before:
                    sys.modules[name] = before[name]
                else:
                    del sys.modules[name]

    def _owns(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        inside = file is not None and Path(file).resolve().is_relative_to(self.folder)
        return inside and "site-packages" not in Path(str(file)).parts

    def load(self) -> list[Subject]:
        """The subjects that the file defines, in the order of the text; none is not an error here.

        Raises UsageError when there is no such file, AdapterError with the user's own line when it does not import.
        """
        if not self.path.is_file():
            raise UsageError(f"there is no file {str(self.path)!r}")
        spec = importlib.util.spec_from_file_location(self.module_name, self.path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{str(self.path)!r} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        with self.importable():
            sys.modules[self.module_name] = module
            try:
                spec.loader.exec_module(module)
            except UsageError as error:
                raise UsageError(f"{self.path}: {error}") from error
            except (Exception, SystemExit) as error:
                raise AdapterError(f"{self.path} does not import: {self.blame(error)}") from error
        found = [marked(value) for value in vars(module).values()]
        own = [s for s in found if s is not None and s.make.__module__ == self.module_name]
        own = list({id(s.make): s for s in own}.values())
        for name in {s.name for s in own if sum(t.name == s.name for t in own) > 1}:
            raise UsageError(f"{self.path} has two subjects called {name!r}; give one of them a name=")
        return [replace(s, source=self) for s in own]

    def blame(self, error: BaseException) -> str:
        """What went wrong and the line of the user's own code where it was raised, without a traceback."""
        if isinstance(error, SyntaxError) and error.filename:
            line = (error.text or "").strip()
            return f"{type(error).__name__}: {error.msg}\n  {_near(error.filename)}:{error.lineno}: {line}"
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, GradverifyError):  # ours says it all; the user's own line is behind its cause
            said = str(error)
        raised = error.__cause__ or error
        frames = [f for f in traceback.extract_tb(raised.__traceback__) if self._in_folder(f.filename)]
        if not frames or (isinstance(error, GradverifyError) and raised is error):
            return said
        return f"{said}\n  {_near(frames[-1].filename)}:{frames[-1].lineno}: {frames[-1].line}"

    def _in_folder(self, filename: str) -> bool:
        path = Path(filename)
        return path.resolve().is_relative_to(self.folder) and "site-packages" not in path.parts and path.is_file()


def _near(filename: str) -> str:
    """A path as the user would type it here."""
    with contextlib.suppress(ValueError):
        return str(Path(filename).resolve().relative_to(Path.cwd()))
    return filename


def find_files(path: Path) -> list[Path]:
    """A file itself, or every ``*.py`` of a folder, sorted. Raises UsageError when there is nothing there."""
    if path.is_dir():
        files = sorted(file for file in path.glob("*.py") if file.is_file())  # no link that leads nowhere
        if not files:
            raise UsageError(f"the folder {str(path)!r} holds no Python file")
        return files
    if not path.exists():
        raise UsageError(f"there is no file {str(path)!r}")
    return [path]
