"""Texts of peers as the log and terminals show them: on one line, and without anything that could be more than text.

Bytes that are not UTF-8 and characters that cannot be printed become \\xNN or \\uNNNN, so that no client can forge a
line, end one early, or send control codes to a terminal. Different bytes are shown differently.
"""

import msgspec

TEXT_CHARACTERS = 1024  # longest text of a peer in a line; longer ones are cut

# Bytes that need no care in a key=value line (printable, no blank, quote, backslash or equals sign), and in JSON.
_PLAIN_KV = bytes(code for code in range(33, 127) if code not in b'"\\=')
_PLAIN_JSON = bytes(code for code in range(32, 127) if code not in b'"\\')


class _Escapes(dict[int, str]):
    """A `str.translate` table made on demand: what cannot be printed is spelled out."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as "surrogateescape" hands it over
            escape = f"\\x{code - 0xDC00:02x}"
        elif character.isprintable():
            escape = character
        elif code < 0x100:
            escape = f"\\x{code:02x}"
        elif code < 0x10000:
            escape = f"\\u{code:04x}"
        else:
            escape = f"\\U{code:08x}"
        if len(self) < 4096:  # a peer chooses the characters: the table must not grow with them
            self[code] = escape
        return escape


_escapes_kv = _Escapes({ord("\\"): "\\\\", ord('"'): '\\"', 10: "\\n", 13: "\\r", 9: "\\t"})
_escapes_json = _Escapes({ord("\\"): "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"})
_json_encoder = msgspec.json.Encoder()


def kv_text(value: bytes | str, limit_characters: int = TEXT_CHARACTERS) -> str:
    """A peer's text as a logfmt value: as it is where it is plain, else in quotes with escapes."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not raw:
        return '""'
    if not raw.translate(None, _PLAIN_KV) and len(raw) <= limit_characters:
        return raw.decode("ascii")
    return f'"{_decoded(raw, limit_characters).translate(_escapes_kv)}"'


def json_text(value: bytes | str, limit_characters: int = TEXT_CHARACTERS) -> str:
    """A peer's text as a JSON string, quotes included; what cannot be printed is escaped before JSON's own escapes."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if not raw.translate(None, _PLAIN_JSON) and len(raw) <= limit_characters:
        return f'"{raw.decode("ascii")}"'
    return _json_encoder.encode(_decoded(raw, limit_characters).translate(_escapes_json)).decode()


def _decoded(raw: bytes, limit_characters: int) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    return text if len(text) <= limit_characters else text[:limit_characters] + "..."


def printable(value: bytes | str) -> str:
    """A peer's text for a terminal, outside of the log: escaped as there, without quotes, and not cut."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return raw.decode("utf-8", "surrogateescape").translate(_escapes_json)
