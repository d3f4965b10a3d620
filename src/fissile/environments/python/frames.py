"""What travels between the world and a worker: a JSON header and binary parts, each with its length before it.

The world never unpickles what a worker sends: a state stays bytes on its side.
"""

from __future__ import annotations

import json
import struct
from typing import IO, NamedTuple

from fissile.calls import JSON

_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


class Frame(NamedTuple):
    """One request or reply."""

    header: dict[str, JSON]
    parts: tuple[bytes, ...] = ()


def write_frame(stream: IO[bytes], frame: Frame) -> None:
    """Write a frame and flush.

    Raises:
        OSError: nobody reads the stream any more.
    """
    pieces = (json.dumps(frame.header).encode("ascii"), *frame.parts)
    stream.write(_COUNT.pack(len(pieces)))
    for piece in pieces:
        stream.write(_LENGTH.pack(len(piece)))
        stream.write(piece)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Frame | None:
    """The next frame; None when the stream has ended, be it in the middle of a frame."""
    count = stream.read(_COUNT.size)
    if len(count) < _COUNT.size:
        return None
    pieces = []
    for _ in range(*_COUNT.unpack(count)):
        length = stream.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            return None
        (size,) = _LENGTH.unpack(length)
        piece = stream.read(size)
        if len(piece) < size:
            return None
        pieces.append(piece)
    return Frame(json.loads(pieces[0]), tuple(pieces[1:]))
