"""JSON files that survive a killed process: lines that are appended, such as corrections.jsonl, and whole files.

One record a line, flushed as it is written. A process that dies in the middle of a line leaves a torn one; it
holds no promise to anyone and is removed when the file is opened again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fissile.errors import RunError

Record = Mapping[str, Any]


class JsonLines:
    """A JSON-lines file opened for appending. The folder is made when it is missing.

    Args:
        path: the file.

    Raises:
        RunError: the file cannot be opened, or a line before the last one is not a JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_torn_line(path)
            self._file = path.open("ab")
        except OSError as error:
            raise _run_error(path, "be opened", error) from error

    def append(self, record: Record) -> None:
        """Write one record and hand it to the operating system. Either the whole line is kept or none of it.

        Raises:
            RunError: the line cannot be written, for example because the disk is full.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        start = self._file.tell()
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self._reopen_at(start)
            raise _run_error(self.path, "be written", error) from error

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record, oldest first.

        Raises:
            RunError: a line is not a JSON object.
        """
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _parse(self.path, number, line)

    def truncate_after(self, step: int) -> int:
        """Drop the records whose "step" is greater than `step`, as a resumed run does; the others keep their bytes.

        The file is replaced in one move, so that a crash leaves the old or the new one. Records without a "step"
        stay.

        Returns:
            The number of dropped records.

        Raises:
            RunError: a line is not a JSON object, or the new file cannot be written.
        """
        kept: list[bytes] = []
        dropped = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), start=1):
            if _parse(self.path, number, line).get("step", step) > step:
                dropped += 1
            else:
                kept.append(line)
        if not dropped:
            return 0
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            self._file.close()
            temporary.replace(self.path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _run_error(self.path, "be written", error) from error
        finally:
            if self._file.closed:
                self._file = self.path.open("ab")
        return dropped

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _reopen_at(self, size: int) -> None:
        """Forget what is buffered and cut the file back to `size` bytes."""
        with contextlib.suppress(OSError):  # the buffered rest of the line cannot be written either
            self._file.close()
        os.truncate(self.path, size)
        self._file = self.path.open("ab")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds anything else.
    """
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return fields


def write_json(path: str | Path, fields: Any) -> None:
    """Write JSON so that the file is whole or unchanged.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    write_text(path, json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write text so that the file is whole or unchanged.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:  # an interruption leaves nothing behind either
        with contextlib.suppress(OSError):  # where the folder cannot be, neither can the file
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _run_error(path, "be written", error) from None
        raise


def _remove_torn_line(path: Path) -> None:
    """Cut the file behind its last complete line."""
    if not path.exists():
        return
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    last = complete[complete.rfind(b"\n", 0, -1) + 1 :]
    if last and not _is_record(last):  # a crash of the machine can leave zeros behind a newline
        complete = complete[: -len(last)]
    if len(complete) < len(content):
        os.truncate(path, len(complete))


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    if not _is_record(line):
        raise RunError(f"{path}:{number} is not a JSON object. Delete that line, or restore the file, and go on.")
    record: dict[str, Any] = json.loads(line)
    return record


def _run_error(path: Path, what: str, error: OSError) -> RunError:
    return RunError(f"{path} cannot {what}: {error.strerror}. Free disk space or choose another folder, then resume.")
