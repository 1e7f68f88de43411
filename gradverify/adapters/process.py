"""Another program, in any language, over a pipe.

The wire, both ways: one line of JSON (UTF-8, ends with a newline), then the raw bytes of the arrays it lists, one after
the other, C order, little-endian. Never pickle. Requests and answers take turns::

    -> {"call": "forward", "primals": [["x", "<f8", [5, 3]], ...], "constants": {"k": 2.0},
        "arrays": [["y", "<i8", [5]]]}
    <- {"out": [["", "<f8", [5, 3]]]}                          the output, or several by name
    -> {"call": "backward", "upstream": [["", "<f8", [5, 3]]]}
    <- {"gradients": [["x", "<f8", [5, 3]]]}                   left out or null dtype: not differentiable
    <- {"error": "what went wrong"}                            instead of any answer

A forward is followed by any number of backwards. Each forward starts a fresh program, so nothing is carried over.
The gradients' shapes are fixed by the request; an output may have at most ``limit`` entries.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._arrays import given
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Case, Gradients, Out, Pullback, leaves

DTYPES = ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "<i1", "<u1", "|i1", "|u1", "|b1")
HEADER_LIMIT = 1 << 16


@registry.adapter("process")
class Process:
    """A program in any language: frames of a JSON header line and raw array bytes over its stdin and stdout.

    argv     how it is started, for example ["./my_backend"]
    timeout  seconds that one answer may take
    limit    entries that one output may have
    Raises UsageError for an empty argv; AdapterError when it crashes, hangs, or answers what was not asked.
    """

    framework = "process"
    priority = 0
    accepted = 'a program: gv.verify(gv.process(["./my_backend"]), primals)'
    traits = frozenset({"reshaped-upstream"})

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        limit: int = 10_000_000,
        env: Mapping[str, str] | None = None,
        name: str = "",
    ) -> None:
        if isinstance(argv, str) or not argv:
            raise UsageError(f"process needs a list of arguments such as ['./my_backend'], not {argv!r}")
        self._argv, self._timeout, self._limit = [str(a) for a in argv], timeout, limit
        self._env = None if env is None else dict(env)
        self.name = name or os.path.basename(self._argv[0])

    @classmethod
    def accepts(cls, subject: object) -> bool:  # noqa: ARG003 - the signature that every adapter has
        """Never by itself: a list of strings is started only when gv.process says so."""
        return False

    def evaluate(self, case: Case) -> Out:
        """The forward alone, in a fresh program."""
        conversation = _Conversation(self._argv, self._timeout, self._env, self.name)
        try:
            return self._forward(conversation, case)
        finally:
            conversation.close()

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Forward in a fresh program that stays for the pullback and ends with it."""
        conversation = _Conversation(self._argv, self._timeout, self._env, self.name)
        out = self._forward(conversation, case)
        shapes = {n: v.shape for n, v in case.primals.items()}

        def pullback(upstream: Out) -> Gradients:
            arrays = {k: np.asarray(v) for k, v in leaves(upstream).items()}
            answer = conversation.ask({"call": "backward", "upstream": _specs(arrays)}, arrays)
            specs = _listed(answer, "gradients", self.name)
            found: dict[str, Array | None] = dict.fromkeys(shapes)
            for name, dtype, shape in specs:
                if name not in shapes:
                    raise AdapterError(
                        f"{self.name} answered a gradient for {name!r}; the primals are {', '.join(shapes)}"
                    )
                if dtype is None:
                    continue
                if int(np.prod(shape)) > max(1, 64 * int(np.prod(shapes[name]))):
                    raise AdapterError(
                        f"{self.name} announced a gradient of shape {shape} for {name!r} of shape {shapes[name]}"
                    )
                found[name] = conversation.array(dtype, shape)
            return found

        return out, pullback

    def _forward(self, conversation: _Conversation, case: Case) -> Out:
        primals = given(case)
        extra = {k: v for k, v in case.constants.items() if isinstance(v, np.ndarray)}
        plain = {k: v for k, v in case.constants.items() if k not in extra}
        try:
            json.dumps(plain)
        except TypeError as error:
            raise AdapterError(f"a constant of {self.name} is neither an array nor JSON: {error}") from error
        header = {"call": "forward", "primals": _specs(primals), "constants": plain, "arrays": _specs(extra)}
        answer = conversation.ask(header, {**primals, **extra})
        specs = _listed(answer, "out", self.name)
        if not specs or sum(int(np.prod(shape)) for _, _, shape in specs) > self._limit:
            raise AdapterError(f"{self.name} announced no output, or one of more than {self._limit} entries")
        parts = {name: conversation.array(dtype, shape) for name, dtype, shape in specs}
        return parts[""] if list(parts) == [""] else parts


class _Conversation:
    """One started program; every answer has a deadline, and its standard error is kept for the message."""

    def __init__(self, argv: list[str], timeout: float, env: dict[str, str] | None, name: str) -> None:
        self._timeout, self._name = timeout, name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the program
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=env
            )
        except OSError as error:
            self._stderr.close()
            raise AdapterError(f"cannot start {argv}: {error}") from error
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()
        self._buffer = b""
        self._deadline = 0.0

    def __del__(self) -> None:
        self.close()

    def ask(self, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
        """Send a frame and read the header of the answer."""
        self._deadline = time.monotonic() + self._timeout
        body = b"".join(np.ascontiguousarray(v, dtype=v.dtype.newbyteorder("<")).tobytes() for v in arrays.values())
        stdin = self._process.stdin
        assert stdin is not None
        self._send(stdin.fileno(), json.dumps(header).encode() + b"\n" + body)
        while b"\n" not in self._buffer:
            if len(self._buffer) > HEADER_LIMIT:
                self._fail(f"sent no header line within {HEADER_LIMIT} bytes")
            self._more()
        line, self._buffer = self._buffer.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError:
            self._fail(f"sent a header that is not JSON: {line[:80]!r}")
        if not isinstance(answer, dict):
            self._fail(f"sent a header that is not a JSON object: {line[:80]!r}")
        if "error" in answer:
            self._fail(f"answered an error: {str(answer['error'])[:500]}")
        return dict(answer)

    def array(self, dtype: str, shape: tuple[int, ...]) -> Array:
        """The next array; its length follows from the announced, already checked, shape."""
        if dtype not in DTYPES:
            self._fail(f"announced dtype {dtype!r}; known: {', '.join(DTYPES)}")
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return np.frombuffer(bytearray(data), dtype=np.dtype(dtype)).reshape(shape)

    def close(self) -> None:
        """End the program, if it still runs."""
        process = getattr(self, "_process", None)
        if process is None:
            return
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None and not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    continue  # unsent bytes of a program that is gone
        self._stderr.close()

    def _send(self, fd: int, data: bytes) -> None:
        os.set_blocking(fd, False)
        view = memoryview(data)
        while view:
            if not select.select([], [fd], [], max(0.0, self._deadline - time.monotonic()))[1]:
                self._fail(f"did not read its input within {self._timeout:g} s")
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                continue
            except OSError:
                self._fail("ended before it read its input")

    def _more(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not select.select([self._out], [], [], left)[0]:
            self._fail(f"gave no answer within {self._timeout:g} s")
        chunk = os.read(self._out, 1 << 20)
        if not chunk:
            self._fail("ended without an answer")
        self._buffer += chunk

    def _fail(self, what: str) -> None:
        try:
            self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        code = self._process.returncode
        self._stderr.seek(0)
        said = self._stderr.read()[-2000:].decode(errors="replace").strip().splitlines()
        raise AdapterError(f"{self._name} {what} (exit status {code})" + (f"; it said: {said[-1]}" if said else ""))


def _specs(arrays: Mapping[str, Array]) -> list[list[Any]]:
    return [[k, v.dtype.newbyteorder("<").str, list(v.shape)] for k, v in arrays.items()]


def _listed(answer: Mapping[str, Any], key: str, who: str) -> list[tuple[str, Any, tuple[int, ...]]]:
    """``[[name, dtype, shape], ...]`` from an untrusted header."""
    specs = answer.get(key)
    try:
        found = [(str(n), None if d is None else str(d), tuple(int(i) for i in s)) for n, d, s in specs]  # type: ignore[union-attr]  # whatever it is, it fails here
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{who} answered {key}={specs!r}; expected [[name, dtype, shape], ...]") from error
    if any(i < 0 for _, _, shape in found for i in shape) or len({n for n, _, _ in found}) != len(found):
        raise AdapterError(f"{who} answered {key}={specs!r}: a negative size or a name given twice")
    return found
