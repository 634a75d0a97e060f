"""The stream inside of TLS: any split of a client's bytes, both versions, ends and failures of every kind."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import cast

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.server import tls_stream
from mta.server.stream import RECEIVE_BUFFER_BYTES, Clock, DeadlineExceeded, Stream
from mta.server.tls import TlsContexts
from mta.server.tls_stream import PIECE_BYTES, RESERVE_BYTES, TlsFacts, TlsFailure, TlsStream
from tests.support.certificates import Authority
from tests.support.hub import in_hub
from tests.support.tls import BlockingStream, Client, Script, client_context, contexts

VERSIONS = ("1.2", "1.3")
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def served(authority: Authority) -> TlsContexts:
    return contexts(authority.server(), authority.server(kind="rsa"), client_ca=authority.ca)


@pytest.fixture
def buffer() -> bytearray:
    return bytearray(RECEIVE_BUFFER_BYTES)


def over(raw: Script | BlockingStream, context: ssl.SSLContext, received: bytes = b"") -> TlsStream:
    return TlsStream(cast(Stream, raw), context, received)


def shaken(
    served: TlsContexts, version: str, cut: Callable[[bytes], Iterator[bytes]] = lambda data: iter((data,))
) -> tuple[TlsStream, Script, Client]:
    """A session whose handshake is done, with the raw stream under it and the client at the other end."""
    client = Client(client_context(version=version))
    raw = Script(client=client, cut=cut)
    stream = over(raw, served.context("ask"))
    stream.handshake(bytearray(RECEIVE_BUFFER_BYTES), 0.0)
    return stream, raw, client


def read_all(stream: TlsStream, buffer: bytearray) -> bytes:
    data = b""
    while count := stream.receive_into(buffer, 0.0):
        data += buffer[:count]
    return data


# --- facts


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_of_a_session(served: TlsContexts, authority: Authority, version: str, buffer: bytearray) -> None:
    session: ssl.SSLSession | None = None
    context = client_context(version=version, certificate=authority.client())
    for is_resumed in (False, True):
        client = Client(context, session=session)
        stream = over(Script(client=client), served.context("ask"))
        stream.handshake(buffer, 0.0)
        stream.send(b"220 hello\r\n", 0.0)
        session = client.tls.session
        facts = stream.facts
        assert facts.version == f"TLSv{version}"
        assert "AES" in facts.cipher
        assert facts.bits == 256
        assert facts.server_name == "mx.example.org"
        assert len(facts.client_fingerprint) == 64
        assert facts.client_verified
        assert facts.resumed is is_resumed


def test_comment_for_the_received_field() -> None:
    facts = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
    assert facts.comment == b"(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))"
    shown = TlsFacts("TLSv1.2", "X", 128, "", "ab" * 32, client_verified=False)
    assert shown.comment.split(b"\r\n\t") == [
        b"(using TLSv1.2 with cipher X (128/128 bits))",
        b"(client certificate SHA-256 " + b"ab" * 32 + b" not verified)",
    ]


# --- plain text


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60)
@given(
    said=st.lists(st.binary(min_size=1, max_size=300) | st.integers(1, 70000).map(lambda n: bytes(n)), max_size=5),
    sizes=st.lists(st.integers(1, 20000) | st.integers(1, 40), min_size=1, max_size=12),
)
def test_any_split_of_the_clients_bytes_gives_the_same_plain_text(
    served: TlsContexts, version: str, said: list[bytes], sizes: list[int]
) -> None:
    def cut(data: bytes) -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            yield data[at : at + size]
            at, turn = at + size, turn + 1
            sizes[turn % len(sizes)] = sizes[turn % len(sizes)] * 2  # or else a byte each takes too long

    stream, raw, client = shaken(served, version, cut)
    wire = b"".join(client.say(data) for data in said) + client.say_end()
    raw.put(wire)
    buffer = bytearray(RECEIVE_BUFFER_BYTES)
    assert read_all(stream, buffer) == b"".join(said)
    assert stream.receive_into(buffer, 0.0) == 0


@pytest.mark.parametrize(("version", "receives"), [("1.2", 3), ("1.3", 2)])
def test_bytes_behind_the_handshake_are_kept(
    served: TlsContexts, version: str, receives: int, buffer: bytearray
) -> None:
    """In TLS 1.3 they come in one piece with the client's last flight; no receive is waited for to read them."""
    client = Client(client_context(version=version))

    def speaking(data: bytes) -> Iterator[bytes]:
        yield data + client.say(b"EHLO client.example\r\n") if client.is_shaken else data

    raw = Script(client=client, cut=speaking)
    stream = over(raw, served.context("ask"))
    stream.handshake(buffer, 0.0)
    count = stream.receive_into(buffer, 0.0)
    assert buffer[:count] == b"EHLO client.example\r\n"
    assert raw.receives == receives


def test_bytes_received_before_are_part_of_the_handshake(served: TlsContexts, buffer: bytearray) -> None:
    """As behind a PROXY header."""
    for size in (0, 1, 100, 10_000):
        client = Client(client_context())
        raw = Script(client=client)
        hello = raw.pieces.pop()
        raw.put(hello[size:])
        stream = over(raw, served.context("ask"), hello[:size])
        stream.handshake(buffer, 0.0)
        assert client.is_shaken


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [65536, RECEIVE_BUFFER_BYTES])
def test_a_flood_is_read_in_bounded_memory(served: TlsContexts, version: str, size: int) -> None:
    stream, raw, client = shaken(served, version)
    said = b"".join(client.say(bytes([number]) * 50000) for number in range(40))
    raw.put(said)
    buffer = bytearray(size)
    counts = [0] * 40
    while sum(counts) < 40 * 50000:
        count = stream.receive_into(buffer, 0.0)
        assert count
        assert stream._incoming.pending <= RESERVE_BYTES
        for number in range(40):
            counts[number] += buffer[:count].count(number)
    assert counts == [50000] * 40
    assert raw.receives <= len(said) // (size - RESERVE_BYTES) + 4


def test_small_records_are_read_with_one_receive(served: TlsContexts, buffer: bytearray) -> None:
    stream, raw, client = shaken(served, "1.3")
    raw.put(b"".join(client.say(b"NOOP\r\n") for _ in range(1000)))
    before = raw.receives
    assert stream.receive_into(buffer, 0.0) == 6000
    assert raw.receives == before + 1


def test_large_replies_arrive_whole(served: TlsContexts) -> None:
    stream, raw, client = shaken(served, "1.3")
    stream.send(b"x" * 100_000, 0.0)
    assert len(raw.sent) == 2  # the handshake's, and this
    assert client.received == b"x" * 100_000
    stream.send(b"", 0.0)


@pytest.mark.parametrize(("version", "sends"), [("1.2", 2), ("1.3", 1)])
def test_a_handshake_is_two_receives_and_its_tickets_go_with_the_first_reply(
    served: TlsContexts, version: str, sends: int
) -> None:
    stream, raw, client = shaken(served, version)
    assert raw.receives == 2
    assert len(raw.sent) == sends
    stream.send(b"220 hello\r\n", 0.0)
    assert len(raw.sent) == sends + 1
    assert client.received == b"220 hello\r\n"
    assert client.tls.session
    assert client.tls.session.has_ticket


# --- ends


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_words_and_the_end_are_one_send(served: TlsContexts, version: str) -> None:
    stream, raw, client = shaken(served, version)
    stream.send_last(b"221 2.0.0 Bye\r\n")
    stream.close()
    assert client.received == b"221 2.0.0 Bye\r\n"
    assert client.has_ended
    assert len(raw.last) == 1
    assert raw.is_closed


@pytest.mark.parametrize("version", VERSIONS)
def test_closing_says_so_without_waiting(served: TlsContexts, version: str) -> None:
    stream, raw, client = shaken(served, version)
    receives = raw.receives
    stream.close()
    assert client.has_ended
    assert raw.is_closed
    assert raw.receives == receives


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_may_end_without_a_word(served: TlsContexts, version: str, buffer: bytearray) -> None:
    stream, raw, client = shaken(served, version)
    raw.put(client.say(b"QUIT\r\n"))
    assert read_all(stream, buffer) == b"QUIT\r\n"
    assert stream.receive_into(buffer, 0.0) == 0
    stream.close()
    assert raw.last == []  # nobody is there to read it
    assert raw.is_closed


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_ends_in_good_order_is_answered(served: TlsContexts, version: str, buffer: bytearray) -> None:
    stream, raw, client = shaken(served, version)
    raw.put(client.say(b"QUIT\r\n") + client.say_end())
    assert read_all(stream, buffer) == b"QUIT\r\n"
    stream.send(b"221 bye\r\n", 0.0)
    stream.close()
    assert client.has_ended


def test_half_a_record_at_the_end_is_not_passed_on(served: TlsContexts, buffer: bytearray) -> None:
    stream, raw, client = shaken(served, "1.3")
    raw.put(client.say(b"DATA\r\n") + client.say(b"Subject: x\r\n")[:-1])
    assert read_all(stream, buffer) == b"DATA\r\n"


def test_nothing_is_said_before_the_handshake_is_done(served: TlsContexts) -> None:
    raw = Script(client=Client(client_context()))
    stream = over(raw, served.context("ask"))
    assert failure(lambda: stream.send_last(b"421 4.4.2 too slow\r\n"))
    stream.close()
    assert (raw.sent, raw.last) == ([], [])
    assert raw.is_closed


def test_lingering_reads_no_more(served: TlsContexts, buffer: bytearray) -> None:
    stream, raw, client = shaken(served, "1.3")
    raw.put(client.say(b"more"))
    stream.send_last(b"421 4.3.2 bye\r\n")
    stream.linger(buffer)
    assert raw.pieces == []
    assert client.has_ended


# --- failures


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(TlsFailure) as caught:
        call()
    return caught.value.reason


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"EHLO client.example\r\n", "wrong_version_number"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http_request"),
        (b"", "closed"),
        (b"\x16\x03\x01", "closed"),
        (b"\x16\x03\x01\xff\xff", "packet_length_too_long"),
    ],
)
def test_what_is_no_handshake_has_a_reason(served: TlsContexts, said: bytes, reason: str, buffer: bytearray) -> None:
    raw = Script([said] if said else [])
    stream = over(raw, served.context("ask"))
    assert failure(lambda: stream.handshake(buffer, 0.0)) == reason
    stream.close()
    assert raw.is_closed


def test_the_client_is_told_by_an_alert(served: TlsContexts, buffer: bytearray) -> None:
    context = client_context(version="1.2")
    context.set_ciphers("AES256-SHA")
    raw = Script(client=Client(context))
    stream = over(raw, served.context("ask"))
    assert failure(lambda: stream.handshake(buffer, 0.0)) == "no_shared_cipher"
    stream.close()
    assert len(raw.last) == 1
    assert raw.client_failure == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unverified_certificate_has_its_reason(
    served: TlsContexts, authority: Authority, version: str, buffer: bytearray
) -> None:
    raw = Script(client=Client(client_context(version=version, certificate=authority.expired())))
    stream = over(raw, served.context("require"))
    assert failure(lambda: stream.handshake(buffer, 0.0)) == "certificate_verify_failed: certificate has expired"
    assert raw.client_failure == "SSLV3_ALERT_CERTIFICATE_EXPIRED"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_reason_of_a_client_that_gives_up_is_its_alert(
    authority: Authority, version: str, buffer: bytearray
) -> None:
    raw = Script(client=Client(client_context(authority.ca, version=version)))
    stream = over(raw, contexts(authority.expired()).context("ask"))
    assert failure(lambda: stream.handshake(buffer, 0.0)) == "sslv3_alert_certificate_expired"


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_garbage_instead_of_a_handshake_only_ever_fails(served: TlsContexts, data: bytes, as_record: bool) -> None:
    if as_record:
        data = b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data
    stream = over(Script([data]), served.context("ask"))
    assert failure(lambda: stream.handshake(bytearray(65536), 0.0))
    stream.close()


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=60)
@given(place=st.integers(0, 10_000), change=st.integers(1, 255))
def test_a_changed_byte_never_becomes_plain_text(served: TlsContexts, version: str, place: int, change: int) -> None:
    stream, raw, client = shaken(served, version)
    first, client_bytes = client.say(b"NOOP\r\n"), client.say(b"MAIL FROM:<>\r\n")
    second = bytearray(client_bytes)
    second[place % len(second)] ^= change
    raw.put(first + bytes(second))
    buffer = bytearray(65536)
    said: list[bytes] = []

    def read() -> None:
        while count := stream.receive_into(buffer, 0.0):
            said.append(bytes(buffer[:count]))

    if second[3:5] != client_bytes[3:5]:  # another length: the record is too long, or its end is not there
        with suppress(TlsFailure):
            read()
    else:
        assert failure(read)
        assert raw.last  # the alert
    assert b"".join(said) in (b"", b"NOOP\r\n")
    stream.close()
    assert raw.is_closed


def test_who_knows_nothing_of_tls_sees_a_broken_connection() -> None:
    error = TlsFailure("no_shared_cipher")
    assert isinstance(error, OSError)
    assert error.strerror == "TLS failed: no_shared_cipher"


def test_a_handshake_is_bounded_in_bytes(
    served: TlsContexts, buffer: bytearray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_stream, "HANDSHAKE_BYTES", 100)
    client = Client(client_context())
    raw = Script(client=client, cut=lambda data: (data[at : at + 60] for at in range(0, len(data), 60)))
    stream = over(raw, served.context("ask"))
    assert failure(lambda: stream.handshake(buffer, 0.0)) == "too_long"
    assert raw.receives == 2


def test_only_a_piece_is_taken_at_once_in_a_handshake(served: TlsContexts, buffer: bytearray) -> None:
    raw = Script([b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + bytes(200_000)])
    stream = over(raw, served.context("ask"))
    failure(lambda: stream.handshake(buffer, 0.0))
    assert 200_000 - sum(map(len, raw.pieces)) <= 3 * PIECE_BYTES


# --- over real streams


@pytest.fixture
def pair() -> Iterator[tuple[Stream, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(PATIENCE_S)
    yield Stream(ours, Clock(monotonic())), theirs
    theirs.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_over_a_real_stream(
    served: TlsContexts, authority: Authority, pair: tuple[Stream, socket.socket], version: str, buffer: bytearray
) -> None:
    raw, theirs = pair
    told: list[bytes] = []

    def client() -> None:
        context = client_context(authority.ca, version=version)
        with context.wrap_socket(theirs, server_hostname="mx.example.org", suppress_ragged_eofs=False) as tls:
            told.append(tls.recv(100))
            tls.sendall(b"x" * 500_000)
            while piece := tls.recv(65536):
                told.append(piece)

    def serve() -> int:
        stream = TlsStream(raw, served.context("ask"))
        stream.handshake(buffer, float("inf"))
        stream.send(b"220 hello\r\n", float("inf"))
        count = 0
        while count < 500_000:
            count += stream.receive_into(buffer, float("inf"))
        stream.send(b"y" * 300_000, float("inf"))
        stream.send_last(b"221 bye\r\n")
        stream.close()
        return count

    thread = threading.Thread(target=client)
    thread.start()
    assert gevent.spawn(serve).get(timeout=PATIENCE_S) == 500_000
    thread.join()
    assert told[0] == b"220 hello\r\n"
    assert b"".join(told[1:]) == b"y" * 300_000 + b"221 bye\r\n"


def test_a_silent_client_is_given_up(
    served: TlsContexts, pair: tuple[Stream, socket.socket], buffer: bytearray
) -> None:
    raw, _ = pair
    stream = TlsStream(raw, served.context("ask"))
    greenlet = gevent.spawn(stream.handshake, buffer, 123.0)
    gevent.sleep(0)
    assert raw.is_parked
    assert raw.deadline_at == 123.0
    in_hub(raw.wake, DeadlineExceeded())
    with pytest.raises(DeadlineExceeded):
        greenlet.get(timeout=PATIENCE_S)
    stream.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-tls1_2"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (["-tls1_2", "-sigalgs", "RSA+SHA256:RSA-PSS+SHA256"], "ECDHE-RSA-AES256-GCM-SHA384"),
        (["-tls1_3"], "TLS_AES_256_GCM_SHA384"),
        (["-tls1_3", "-groups", "P-256"], "TLS_AES_256_GCM_SHA384"),
        (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "TLS_CHACHA20_POLY1305_SHA256"),
    ],
)
def test_openssl_s_client(
    served: TlsContexts, authority: Authority, options: list[str], said: str, buffer: bytearray
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        names = ["-verify_hostname", "mx.example.org", "-servername", "mx.example.org"]
        process = subprocess.Popen(
            [
                "openssl",
                "s_client",
                "-connect",
                address,
                "-CAfile",
                authority.ca,
                "-verify_return_error",
                *names,
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        client, _ = listener.accept()
        stream = over(BlockingStream(client), served.context("ask"))
        stream.handshake(buffer, 0.0)
        stream.send(b"220 hello\r\n", 0.0)
        assert process.stdin
        process.stdin.write(b"NOOP\n")
        process.stdin.flush()
        count = stream.receive_into(buffer, 0.0)
        assert bytes(buffer[:count]) == b"NOOP\n"
        stream.send_last(b"221 bye\r\n")
        stream.close()
        output, _ = process.communicate(timeout=PATIENCE_S)
    assert b"220 hello\r\n" in output
    assert b"221 bye\r\n" in output
    assert stream.facts.cipher == said
