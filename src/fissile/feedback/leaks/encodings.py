"""Other readings of a text: what a reader finds in it who decodes, reverses or strips it."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from urllib.parse import unquote_plus

from fissile.feedback.spelling import plain

_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{4,}(?![\w+/-])")
_HEX = re.compile(r"(?<![\w\\])(?:(?:0x|\\x)?[0-9a-f]{2}[\s,:;-]{0,2}){3,}(?!\w)|(?:\\x[0-9a-f]{2})+", re.IGNORECASE)
_BINARY = re.compile(r"(?<!\w)(?:[01]{8}[\s,]*){2,}(?!\w)")
_CODES = re.compile(r"(?<![\w.])(?:\d{2,3}[\s,;]+){2,}\d{2,3}(?![\w.])")
_ESCAPE = re.compile(r"\\u\{?([0-9a-f]{4,6})\}?|\\x([0-9a-f]{2})|U\+([0-9a-f]{4,6})[\s,]*", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,80}>")
_CONNECTORS = re.compile(
    r"\b(?:(?:and )?then|followed by|next(?: comes)?|capital|upper[ -]?case|lower[ -]?case|letters?|digits?|space|comma"
    r"|hyphen|dash|dot|quote|plus)\b|(?<=-) and (?=-)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.;!?\n]+")
_LABEL = re.compile(r"[:=]|\b(?:is|with|in)\b")
_MIXED = re.compile(r"[A-Za-z@$][0-9@$]|[0-9@$][A-Za-z]")
_DISGUISES = (str.maketrans("431057@$", "aeiosta" + "s"), str.maketrans("4310578@$", "aelostb" + "as"))
"""Digits and signs that stand for the letters they resemble; "1" is an i or an l."""


def undecoded(text: str) -> str:
    """The text as a reader takes it in who decodes nothing: a letter out of the ordinary is no Latin one."""
    return text if text.isascii() else "".join(map(_as_it_is, text))


def _as_it_is(letter: str) -> str:
    if letter.isascii():
        return letter
    return "x" if letter.isalnum() or unicodedata.category(letter) in ("Cf", "Mn") else " "


def decodings(text: str) -> Iterator[str]:
    """Every other reading that the text has, undecodable ones left out. Each takes time linear in the text."""
    for rewrite in _REWRITERS:
        if (rewritten := rewrite(text)) != text:
            yield rewritten
    for read in _READERS:
        yield from read(text)


def _base64(text: str) -> Iterator[str]:
    for found in _BASE64.finditer(text):
        token = found[0].replace("-", "+").replace("_", "/")
        try:
            yield from _printable(base64.b64decode(token + "=" * (-len(token) % 4), validate=True))
        except binascii.Error:
            continue


def _hexadecimal(text: str) -> Iterator[str]:
    for found in _HEX.finditer(text):
        digits = re.sub(r"0x|\\x|[^0-9a-f]", "", found[0].lower())
        yield from _printable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _binary(text: str) -> Iterator[str]:
    for found in _BINARY.finditer(text):
        yield from _printable(bytes(int(octet, 2) for octet in re.findall("[01]{8}", found[0])))


def _character_codes(text: str) -> Iterator[str]:
    for found in _CODES.finditer(text):
        codes = [int(code) for code in re.findall(r"\d+", found[0])]
        yield from _printable(bytes(code for code in codes if code < 128)) if max(codes) < 128 else ()


def _printable(decoded: bytes) -> Iterator[str]:
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        return
    if text.isprintable():
        yield text


def _character(code: str) -> str:
    number = int(code, 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else " "


def _pieces(text: str) -> Iterator[str]:
    """What comes last in each sentence, joined: "part 1: San. part 2: Francisco."."""
    tails = [tail for part in _SENTENCE.split(text) if (tail := _LABEL.split(part)[-1].strip())]
    if len(tails) > 1:
        yield " ".join(tails)


def _undisguised(text: str) -> Iterator[str]:
    if _MIXED.search(text):
        yield from (text.translate(disguise) for disguise in _DISGUISES)


_REWRITERS: tuple[Callable[[str], str], ...] = (
    lambda text: _ESCAPE.sub(lambda found: _character(found[1] or found[2] or found[3]), text),
    html.unescape,
    unquote_plus,
    plain,  # look-alikes
    lambda text: codecs.encode(text, "rot13"),
    lambda text: text[::-1],
    lambda text: _TAG.sub("", text),
    lambda text: _CONNECTORS.sub(" ", text),
)
"""Those that read the whole text otherwise."""

_READERS: tuple[Callable[[str], Iterator[str]], ...] = (
    _base64,
    _hexadecimal,
    _binary,
    _character_codes,
    _pieces,
    _undisguised,
)
"""Those that find other texts in it."""
