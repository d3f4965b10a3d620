import base64
import codecs
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.feedback.leaks.encodings import decodings, undecoded
from fissile.feedback.spelling import Spelled

PHRASE = Spelled.of("San Francisco")


def found(text: str) -> bool:
    return any(PHRASE in Spelled.of(read) for read in decodings(text))


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"San Francisco").decode(),
        base64.b64encode(b"it is San Francisco!").decode().rstrip("="),
        b"San Francisco".hex(),
        b"San Francisco".hex(" "),
        " ".join(f"0x{byte:02x}" for byte in b"San Francisco"),
        " ".join(f"{byte:08b}" for byte in b"San Francisco"),
        " ".join(str(byte) for byte in b"San Francisco"),
        quote("San Francisco"),
        quote_plus("%San Francisco"),
        "San&#32;Fran&shy;cisco",
        "".join(f"\\u{ord(letter):04x}" for letter in "San Francisco"),
        "S\\x61n Francisco",
        "San Fr\u200ban\u00adcisco",
        "Ѕаn Frаnсіsсо",
        codecs.encode("San Francisco", "rot13"),
        "ocsicnarF naS",
        "<b>San</b><i> Fran</i>cisco",
        "S, then a, then n, then F, r, a, n, c, i, s, c, o",
        "5an Fr4nc15c0",
        "part 1: San Fran\npart 2: cisco",
    ],
)
def test_a_value_is_found_in_every_code(text):
    assert found(f"decode {text}" if "part" not in text and "ocsi" not in text else text)


@pytest.mark.parametrize(
    "text", ["", "the city is wrong", "argument 'city' must be a string", "0x41 0x42", "%zz \\uZZZZ"]
)
def test_ordinary_text_hides_nothing(text):
    assert not found(text)


def test_a_reader_who_decodes_nothing_takes_lookalikes_for_other_letters():
    assert undecoded("abc") == "abc"
    assert undecoded("Pаris") == "Pxris"
    assert undecoded("“Paris”") == " Paris "


@given(st.text())
def test_any_text_can_be_decoded(text):
    for read in decodings(text):
        Spelled.of(read)


@given(st.text(string.ascii_letters + string.digits + "%\\&<>=+/ux#;", max_size=60))
def test_hostile_text_can_be_decoded(text):
    for read in decodings(text):
        Spelled.of(read)
