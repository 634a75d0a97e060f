"""The grammar of mailboxes and paths."""

import ipaddress
import string
import sys
import time
import unicodedata

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta import fastparse
from mta.smtp import limits
from mta.smtp.address import NULL, POSTMASTER, AddressError, Mailbox, parse_domain, parse_ip, parse_mailbox, parse_path

LONG_LABEL = b"x" * 63
LONG_DOMAIN = b".".join([LONG_LABEL] * 3 + [b"y" * 57])  # 249 bytes

MAILBOXES = [
    (b"user@example.org", b"user", b"example.org"),
    (b"User@Example.ORG", b"User", b"example.org"),
    (b"a@b", b"a", b"b"),
    (b"first.last+tag@example.org", b"first.last+tag", b"example.org"),
    (b"!#$%&'*+-/=?^_`{|}~@example.org", b"!#$%&'*+-/=?^_`{|}~", b"example.org"),
    (b"x" * 64 + b"@example.org", b"x" * 64, b"example.org"),
    (b"a@1.2.3.4", b"a", b"1.2.3.4"),
    (b"a@under_score.example.org", b"a", b"under_score.example.org"),
    (b"a@" + LONG_LABEL + b".org", b"a", LONG_LABEL + b".org"),
    (b"a@xn--fsqu00a.xn--4rr70v", b"a", b"xn--fsqu00a.xn--4rr70v"),
    (b"a@xn--i-7iq.ws", b"a", b"xn--i-7iq.ws"),  # emoji: no U-label, but a name that exists
    # Quoting: the least that will do, and none where none is needed (RFC 5321 section 4.1.2).
    (b'"user"@example.org', b"user", b"example.org"),
    (b'"us\\er"@example.org', b"user", b"example.org"),
    (b'"first.last"@example.org', b"first.last", b"example.org"),
    (b'"first..last"@example.org', b'"first..last"', b"example.org"),
    (b'".first"@example.org', b'".first"', b"example.org"),
    (b'"Fred\\ Bloggs"@example.org', b'"Fred Bloggs"', b"example.org"),
    (b'"a@b"@example.org', b'"a@b"', b"example.org"),
    (b'"a>b"@example.org', b'"a>b"', b"example.org"),
    (b'"say \\"hi\\" \\\\o/"@example.org', b'"say \\"hi\\" \\\\o/"', b"example.org"),
    (b'""@example.org', b'""', b"example.org"),
    (b'" "@example.org', b'" "', b"example.org"),
    # Address literals (RFC 5321 section 4.1.3).
    (b"a@[192.0.2.1]", b"a", b"[192.0.2.1]"),
    (b"a@[IPv6:2001:db8::1]", b"a", b"[ipv6:2001:db8::1]"),
    (b"a@[IPv6:1:2:3:4:5:6:7:8]", b"a", b"[ipv6:1:2:3:4:5:6:7:8]"),
    (b"a@[IPv6:::]", b"a", b"[ipv6:::]"),
    (b"a@[IPv6:1:2:3:4:5:6::]", b"a", b"[ipv6:1:2:3:4:5:6::]"),
    (b"a@[IPv6:1:2:3:4:5:6:192.0.2.1]", b"a", b"[ipv6:1:2:3:4:5:6:192.0.2.1]"),
    (b"a@[IPv6:1:2:3:4::192.0.2.1]", b"a", b"[ipv6:1:2:3:4::192.0.2.1]"),
    (b"a@[X400:c=us;a=att]", b"a", b"[x400:c=us;a=att]"),
    # RFC 6531 section 3.3: UTF-8 in local parts, U-labels in domains.
    ("用户@例子.广告".encode(), "用户".encode(), b"xn--fsqu00a.xn--4rr70v"),
    ("Dörte@Sörensen.example.org".encode(), "Dörte".encode(), b"xn--srensen-90a.example.org"),
    ('"Dörte M"@example.org'.encode(), '"Dörte M"'.encode(), b"example.org"),
    ("a@straße.example".encode(), b"a", b"xn--strae-oqa.example"),
]


@pytest.mark.parametrize(("data", "local", "domain"), MAILBOXES, ids=lambda value: repr(value)[:50])
def test_mailbox(data: bytes, local: bytes, domain: bytes) -> None:
    mailbox = parse_mailbox(data, smtputf8=True)
    assert (mailbox.local, mailbox.domain) == (local, domain)
    assert mailbox.is_ascii is data.isascii()
    assert not mailbox.is_null
    assert not mailbox.is_postmaster
    assert parse_mailbox(mailbox.wire, smtputf8=True) == mailbox
    assert parse_path(b"TO:<%b>" % data, b"TO", smtputf8=True) == (mailbox, b"")
    assert parse_path(b"TO:%b" % data, b"TO", smtputf8=True) == (mailbox, b"")


BAD_MAILBOXES = [
    (b"", "address"),
    (b"user", "address"),
    (b"@example.org", "address"),
    (b"user@", "domain"),
    (b".user@example.org", "address"),
    (b"user.@example.org", "address"),
    (b"us..er@example.org", "address"),
    (b"us er@example.org", "address"),
    (b"us\\er@example.org", "address"),
    (b"us@er@example.org", "address"),
    (b'us"er"@example.org', "address"),
    (b'"us"er@example.org', "address"),
    (b'"us"."er"@example.org', "address"),  # RFC 5322 section 4.4, for headers only
    (b'"user@example.org', "address"),
    (b'"user\\"@example.org', "address"),
    (b'"us\x00er"@example.org', "address"),
    (b'"us\ter"@example.org', "address"),
    (b'"us\\\x07er"@example.org', "address"),
    (b"us\x7fer@example.org", "address"),
    (b"x" * 65 + b"@example.org", "address"),
    (b'"' + b"x" * 63 + b'"@example.org', "address"),  # counted as it was sent
    (b" user@example.org", "address"),
    (b"(comment)user@example.org", "address"),
    (b"user@example.org ", "address"),
    (b"user@example.org.", "domain"),
    (b"user@.example.org", "domain"),
    (b"user@example..org", "domain"),
    (b"user@-example.org", "domain"),
    (b"user@example-.org", "domain"),
    (b"user@exam ple.org", "address"),
    (b"user@exam!ple.org", "address"),
    (b"user@" + b"x" * 64 + b".org", "domain"),
    (b"user@xn---", "domain"),
    (b"user@xn--", "domain"),
    (b"user@xn--example.org", "domain"),  # turns into a capital letter: nothing made this
    (b"user@[192.0.2.1", "domain"),
    (b"user@[192.0.2.256]", "domain"),
    (b"user@[192.0.2]", "domain"),
    (b"user@[192.0.2.1.1]", "domain"),
    (b"user@[]", "domain"),
    (b"user@[example.org]", "domain"),
    (b"user@[IPv6:]", "domain"),
    (b"user@[IPv6:::1::]", "domain"),
    (b"user@[IPv6:1:2:3:4:5:6:7]", "domain"),
    (b"user@[IPv6:1:2:3:4:5:6:7::]", "domain"),  # :: stands for two groups at least
    (b"user@[IPv6:1:2:3:4:5::192.0.2.1]", "domain"),
    (b"user@[IPv6:12345::]", "domain"),
    (b"user@[IPv6:g::]", "domain"),
    (b"user@[IPv6:192.0.2.1]", "domain"),
    (b"user@[IPv6:1:2::192.0.2.256]", "domain"),
    (b"user@[tag-:content]", "domain"),
    (b"user@[tag:]", "domain"),
    (b"user@[:content]", "domain"),
    (b"user@[2001:db8::1]", "domain"),
    (b"user@[fe80::1]", "domain"),
    (b"us\xe9r@example.org", "address"),  # Latin-1
    (b"user@ex\xe9mple.org", "domain"),
    ("user@❤.example".encode(), "domain"),
    ("user@\u212aelvin.example".encode(), "domain"),  # the Kelvin sign, whose small letter is an ASCII k
    ("user@e\u0301.example".encode(), "domain"),  # not in form C
    # What were dots to IDNA2003: full-width, ideographic, half-width ideographic.
    ("user@ex\uff0eample.org".encode(), "domain"),
    ("user@例子\u3002广告".encode(), "domain"),
    ("user@例子\uff61广告".encode(), "domain"),
    ("us\x80er@example.org".encode(), "address"),  # controls of ISO 8859
    ('"us\x9ber"@example.org'.encode(), "address"),
    (("user@" + "é" * 120).encode(), "domain"),  # its A-label is over 63 bytes
]


@pytest.mark.parametrize(("data", "kind"), BAD_MAILBOXES, ids=lambda value: repr(value)[:50])
def test_no_mailbox(data: bytes, kind: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_mailbox(data, smtputf8=True)
    assert caught.value.kind == kind
    assert str(caught.value)


@pytest.mark.parametrize("data", ["é@example.org", '"é"@example.org', "user@é.example"])
def test_non_ascii_needs_smtputf8(data: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_mailbox(data.encode(), smtputf8=False)
    assert caught.value.kind == "non-ascii"


# One domain in many forms: U-labels and A-labels, in either case, mixed.
SAME_DOMAINS = [
    ["bücher.example", "BÜCHER.example", "bÜcher.EXAMPLE", "XN--Bcher-KVA.Example", "xn--bcher-kva.example"],
    ["例子.广告", "xn--fsqu00a.广告", "例子.XN--4RR70V", "xn--fsqu00a.xn--4rr70v"],
    ["ΣΟΦΟΣ.gr", "σοφοσ.gr", "Σοφοσ.GR", "xn--0xaakcn.gr"],
    ["a.ΣΟΦΟΣ", "a.σοφοσ", "a.xn--0xaakcn"],  # at the end, too, no final sigma
    ["straße.example", "STRAẞE.example", "xn--strae-oqa.example"],
]


@pytest.mark.parametrize("names", SAME_DOMAINS, ids=lambda names: names[-1])
def test_forms_of_one_domain(names: list[str]) -> None:
    assert {parse_domain(name.encode()) for name in names} == {names[-1].encode()}
    assert {parse_mailbox(b"a@" + name.encode(), smtputf8=True).domain for name in names} == {names[-1].encode()}


def test_domains_that_are_two() -> None:
    assert parse_domain(b"strasse.example") != parse_domain("straße.example".encode())
    assert parse_domain("σοφός.gr".encode()) != parse_domain("σοφόσ.gr".encode())


def test_local_parts_are_compared_as_they_were_sent() -> None:
    composed, decomposed = "é@example.org", "e\u0301@example.org"
    assert unicodedata.normalize("NFC", decomposed) == composed
    first, second = (parse_mailbox(text.encode(), smtputf8=True) for text in (composed, decomposed))
    assert first.local != second.local
    assert (first.wire, second.wire) == (composed.encode(), decomposed.encode())


@given(st.text(st.characters(min_codepoint=0xE0, max_codepoint=0x5FF, categories=["Ll", "Lo"]), min_size=1, max_size=9))
def test_a_u_label_and_its_a_label_are_one(label: str) -> None:
    """Against the other direction of the library, and for the capital letters where they come back."""
    try:
        a_label = parse_domain(f"{label}.example".encode())
    except AddressError:
        return
    assert parse_domain(a_label) == parse_domain(a_label.upper()) == a_label
    assert idna.decode(a_label) == f"{label}.example"
    capital = "".join(c.upper() if len(c.upper()) == 1 and c.upper().lower() == c else c for c in label)
    if unicodedata.is_normalized("NFC", capital):
        assert parse_domain(f"{capital}.example".encode()) == a_label


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"),
        ("::", "::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("0000:0000:0000:0000:0000:ffff:192.168.100.228", "192.168.100.228"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ],
)
def test_ip(text: str, expected: str) -> None:
    assert parse_ip(text) == expected
    assert parse_ip(parse_ip(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "0x1.2.3.4",
        "1.2.3.4 ",
        " 1.2.3.4",
        "1.2.3.4\n",
        "1.2.3.4\0",
        "\uff11.2.3.4",
        "1.2.3.4/32",
        "[::1]",
        ":::",
        "1::2::3",
        "fe80::1%eth0",
        "fe80::1%",
        "::ffff:1.2.3.256",
        "12345::",
        "example.org",
        "0" * 46,
    ],
)
def test_no_ip(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ip(text)


@given(st.ip_addresses())
def test_every_ip(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for text in (str(ip), ip.exploded, str(ip).upper()):
        found = ipaddress.ip_address(parse_ip(text))
        assert found == ((ip.version == 6 and ip.ipv4_mapped) or ip)


@given(st.text("0123456789abcdefABCDEF:.%/x \n", max_size=50) | st.text(max_size=20))
def test_an_ip_is_taken_as_the_library_takes_it(text: str) -> None:
    try:
        expected = ipaddress.ip_address(text)
    except ValueError:
        expected = None
    try:
        found = parse_ip(text)
    except ValueError:
        found = None
    assert (found is not None) is (expected is not None and "%" not in text)


def test_no_character_turns_into_ascii() -> None:
    """What is compared as ASCII must have been sent as ASCII."""
    for code in range(128, sys.maxunicode + 1):
        character = chr(code)
        if character.lower().isascii():
            with pytest.raises(AddressError):
                parse_domain(character.encode() + b".example")


PATHS = [
    (b"FROM:<a@b>", b"FROM", b"a@b", b""),
    (b"from:<a@b>", b"FROM", b"a@b", b""),
    (b"FROM: <a@b>", b"FROM", b"a@b", b""),
    (b"FROM:\t  <a@b>  ", b"FROM", b"a@b", b""),
    (b"FROM:<a@b> SIZE=1  BODY=7BIT ", b"FROM", b"a@b", b"SIZE=1  BODY=7BIT"),
    (b"FROM:<a@b>\tSIZE=1", b"FROM", b"a@b", b"SIZE=1"),
    (b"FROM:a@b SIZE=1", b"FROM", b"a@b", b"SIZE=1"),
    (b"FROM: a@b", b"FROM", b"a@b", b""),
    (b"FROM:<>", b"FROM", b"", b""),
    (b"FROM: <> SIZE=1", b"FROM", b"", b"SIZE=1"),
    (b'TO:<"a b>"@c> X=1', b"TO", b'"a b>"@c', b"X=1"),
    (b'TO:"a b"@c X=1', b"TO", b'"a b"@c', b"X=1"),
    (b"TO:<@one.example,@two.example:a@b>", b"TO", b"a@b", b""),
    (b"TO:<@[192.0.2.1]:a@b> X", b"TO", b"a@b", b"X"),
    (b"TO:<postmaster>", b"TO", b"postmaster", b""),
    (b"TO:<PostMaster> X=1", b"TO", b"postmaster", b"X=1"),
    (b"TO: postmaster", b"TO", b"postmaster", b""),
    (b"TO:POSTMASTER X=1", b"TO", b"postmaster", b"X=1"),
    (b"TO:postmaster@example.org", b"TO", b"postmaster@example.org", b""),
    (b"TO:<postmasters@example.org>", b"TO", b"postmasters@example.org", b""),
    (b"TO:<a@" + LONG_DOMAIN + b"xyz>", b"TO", b"a@" + LONG_DOMAIN + b"xyz", b""),  # 256 bytes
    (b"TO:a@" + LONG_DOMAIN + b"xyz", b"TO", b"a@" + LONG_DOMAIN + b"xyz", b""),
]


@pytest.mark.parametrize(("argument", "keyword", "wire", "rest"), PATHS, ids=lambda value: repr(value)[:50])
def test_path(argument: bytes, keyword: bytes, wire: bytes, rest: bytes) -> None:
    mailbox, found = parse_path(argument, keyword, smtputf8=False)
    assert (mailbox.wire, found) == (wire, rest)


BAD_PATHS = [
    (b"", b"FROM", "syntax"),
    (b"FROM", b"FROM", "syntax"),
    (b"FROM:", b"FROM", "syntax"),
    (b"FROM: ", b"FROM", "syntax"),
    (b"FROM <a@b>", b"FROM", "syntax"),
    (b"FROM :<a@b>", b"FROM", "syntax"),
    (b"TO:<a@b>", b"FROM", "syntax"),
    (b"<a@b>", b"FROM", "syntax"),
    (b"FROM:<a@b", b"FROM", "address"),
    (b"FROM:a@b>", b"FROM", "address"),
    (b"FROM:<a@b>SIZE=1", b"FROM", "address"),
    (b"FROM:< a@b>", b"FROM", "address"),
    (b"FROM:<a@b >", b"FROM", "address"),
    (b"FROM:<<a@b>>", b"FROM", "address"),
    (b"FROM:< >", b"FROM", "address"),
    (b"FROM:<>x", b"FROM", "address"),
    (b"FROM:Joe <a@b>", b"FROM", "address"),
    (b"FROM:<postmaster>", b"FROM", "address"),
    (b"FROM:postmaster", b"FROM", "address"),
    (b"TO:<>", b"TO", "address"),
    (b"TO:<postmaster>x", b"TO", "address"),
    (b"TO:<joe>", b"TO", "address"),
    (b"TO:<@one.example:>", b"TO", "address"),
    (b"TO:<@one.example>", b"TO", "address"),
    (b"TO:<@one.example a@b>", b"TO", "address"),
    (b"TO:<@one.example,:a@b>", b"TO", "address"),
    (b"TO:<@one.example,two.example:a@b>", b"TO", "address"),
    (b"TO:<@:a@b>", b"TO", "domain"),
    (b"TO:<a@" + LONG_DOMAIN + b"wxyz>", b"TO", "address"),  # 257 bytes
    (b"TO:a@" + LONG_DOMAIN + b"wxyz", b"TO", "address"),
]


@pytest.mark.parametrize(("argument", "keyword", "kind"), BAD_PATHS, ids=lambda value: repr(value)[:50])
def test_no_path(argument: bytes, keyword: bytes, kind: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_path(argument, keyword, smtputf8=False)
    assert caught.value.kind == kind


def test_null_and_postmaster() -> None:
    assert parse_path(b"FROM:<>", b"FROM", smtputf8=False)[0] is NULL
    assert parse_path(b"TO:<Postmaster>", b"TO", smtputf8=False)[0] is POSTMASTER
    assert NULL.is_null
    assert not NULL.is_postmaster
    assert POSTMASTER.is_postmaster
    assert not POSTMASTER.is_null


# Against the grammar itself, and against the fast lane -----------------------------------------------------------

ATEXT = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~"
atoms = st.text(ATEXT, min_size=1, max_size=12)
dot_strings = st.lists(atoms, min_size=1, max_size=4).map(".".join)
quoted_characters = st.one_of(
    st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'),
    st.characters(min_codepoint=32, max_codepoint=126).map("\\".__add__),
)
quoted_strings = st.lists(quoted_characters, max_size=25).map(lambda parts: '"' + "".join(parts) + '"')
labels = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda label: not label.lower().startswith("xn--")
)
domains = st.lists(labels, min_size=1, max_size=6).map(".".join)
ipv4 = st.ip_addresses(v=4).map("[{}]".format)
ipv6 = st.ip_addresses(v=6).map("[IPv6:{}]".format).filter(lambda text: "::" not in text)
mailboxes = st.tuples(st.one_of(dot_strings, quoted_strings), st.one_of(domains, ipv4, ipv6))
blanks = st.sampled_from(["", " ", "\t", "  "])


@given(
    parts=mailboxes, before=blanks, route=st.lists(domains, max_size=2), rest=st.sampled_from(["", "SIZE=1", "A B=c"])
)
def test_every_sentence_of_the_grammar(parts: tuple[str, str], before: str, route: list[str], rest: str) -> None:
    local, domain = parts
    hops = ",".join("@" + hop for hop in route) + ":" if route else ""
    path = f"<{hops}{local}@{domain}>"
    argument = f"TO:{before}{path} {rest}".encode()
    if len(path) > limits.PATH_BYTES or len(local) > limits.LOCAL_PART_BYTES:
        with pytest.raises(AddressError):
            parse_path(argument, b"TO", smtputf8=False)
        return
    mailbox, found = parse_path(argument, b"TO", smtputf8=False)
    assert mailbox.domain == domain.lower().encode()
    assert found == rest.encode()
    assert _unquoted(mailbox.local) == _unquoted(local.encode())
    assert len(mailbox.local) <= len(local)


def _unquoted(local: bytes) -> bytes:
    """What a local part means (RFC 5321 section 4.1.2), the slow way."""
    if not local.startswith(b'"'):
        return local
    meaning, characters = bytearray(), iter(local[1:-1])
    for character in characters:
        meaning.append(next(characters) if character == ord("\\") else character)
    return bytes(meaning)


PIECES = [
    *(b"FROM:", b"from:", b"TO:", b"<", b">", b"@", b".", b"-", b"_", b"a", b"B9", b"xn--", b'"', b"\\", b" ", b"\t"),
    *(b"SIZE=1", b"[1.2.3.4]", b":", b",", b"<>", b"<a@b>", b"x" * 63, b"x" * 70, b"\xc3\xa9", b"\xff", b"\x00"),
]
SHAPES = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


@given(argument=SHAPES | st.binary(max_size=40).map(b"FROM:".__add__), keyword=st.sampled_from([b"FROM", b"TO"]))
@example(argument=b"FROM:<a@xn--example>", keyword=b"FROM")
@example(argument=b"FROM:<a@b_c>", keyword=b"FROM")
@example(argument=b"TO:<>", keyword=b"TO")
def test_the_fast_lane_agrees(argument: bytes, keyword: bytes) -> None:
    fast = fastparse.parse_path(argument, keyword)
    try:
        full = parse_path(argument, keyword, smtputf8=True)
    except AddressError:
        full = None
    if fast is None:
        return
    local, domain, rest = fast
    if not domain and keyword == b"TO":
        assert full is None  # `<>`, which a session refuses without looking further
        return
    wire = b"%b@%b" % (local, domain) if domain else b""
    assert full == (Mailbox(local, domain.lower(), wire), rest)


@pytest.mark.parametrize(
    "piece", [b"a", b"a.", b"\\", b'"', b'\\"', b"@", b"@a,", b"@a:", b"<", b"[", b"a@", b"-", b"::", b"\xc3\xa9", b" "]
)
@pytest.mark.parametrize("start", [b"FROM:", b"FROM:<", b'FROM:<"', b"FROM:<@", b"FROM:<a@", b"FROM:<a@[IPv6:"])
def test_time_is_linear(start: bytes, piece: bytes) -> None:
    """Twenty times more than a line can have, in far less than a line of that length would need if it were not."""
    argument = start + piece * (20 * limits.COMMAND_LINE_BYTES // len(piece))
    began_at = time.process_time()
    with pytest.raises(AddressError):
        parse_path(argument, b"FROM", smtputf8=True)
    assert time.process_time() - began_at < 0.5
