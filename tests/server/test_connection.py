"""A client, from its greeting to its end, over a socket and into a real spool."""

import gevent
import pytest

from mta.errors import SpoolFull
from mta.server.connection import NEWCOMER_S
from mta.server.deadlines import Deadlines
from mta.server.stream import DeadlineExceeded, Draining
from mta.smtp.transaction import ENTRY_BYTES
from tests.support.hub import in_hub

TRANSACTION = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"


def send_mail(peer, content: bytes) -> bytes:
    """A pipelined transaction; returns the reply to the content."""
    peer.send(TRANSACTION)
    peer.read_until(b"<CR><LF>.<CR><LF>\r\n")
    peer.send(content + b".\r\n")
    return peer.read_until(b"\r\n")


def test_a_message_is_in_the_spool_when_its_250_is_read(bench, greeted):
    peer = greeted()
    assert send_mail(peer, b"Subject: x\r\n\r\n..dot\r\n").startswith(b"250 2.0.0 OK queued as ")
    assert bench.stored() == [(b"a@example.com", (b"b@example.org",), b"Subject: x\r\n\r\n.dot\r\n")]
    assert peer.ask(b"QUIT") == b"221 2.0.0 Bye\r\n"
    assert peer.read_to_end() == b""


def test_a_pipelined_group_is_answered_by_one_write(bench, greeted):
    peer = greeted()
    peer.send(b"NOOP\r\nRSET\r\nVRFY x\r\nNOOP\r\n")
    with gevent.Timeout(10):
        replies = peer.socket.recv(65536)
    assert [line[:3] for line in replies.splitlines()] == [b"250", b"250", b"252", b"250"]


def test_two_messages_in_one_write_are_two_messages(bench, greeted):
    bench.with_listener(refuse_early=[])
    peer = greeted()
    peer.send(TRANSACTION + b"one\r\n.\r\n" + TRANSACTION + b"two\r\n.\r\nQUIT\r\n")
    codes = [line[:3] for line in peer.read_to_end().splitlines()]
    assert codes == [b"250", b"250", b"354", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert [content for _, _, content in bench.stored()] == [b"one\r\n", b"two\r\n"]


def test_many_clients_share_syncs_and_each_gets_its_own_answer(bench, greeted):
    bench.with_listener(refuse_early=[])
    peers = [greeted() for _ in range(30)]
    for number, peer in enumerate(peers):
        peer.send(TRANSACTION + b"%d\r\n.\r\n" % number)
    for peer in peers:
        assert peer.read_lines(4)[3].startswith(b"250 2.0.0 OK queued as ")
    assert sorted(int(content) for _, _, content in bench.stored()) == list(range(30))


@pytest.mark.parametrize("size_bytes", [65535, 65536, 65537, 3_000_000])
def test_a_large_message_goes_through_a_file_of_its_own(bench, greeted, size_bytes):
    content = b"\r\n" + (b"0123456789" * 7 + b"\r\n") * (size_bytes // 72 + 1)
    peer = greeted()
    assert send_mail(peer, content).startswith(b"250 ")
    assert [stored for _, _, stored in bench.stored()] == [content]
    assert bench.shared.held_bytes == 0
    assert bool(list((bench.root / "bodies").iterdir())) == (len(content) > 65536)


def test_a_large_message_that_is_refused_leaves_nothing(bench, greeted):
    peer = greeted()
    assert send_mail(peer, b"x\n" * 200_000 + b"\r\n").startswith(b"550 5.5.2 ")
    assert send_mail(peer, b"x" * (9 << 20) + b"\r\n").startswith(b"552 5.3.4 ")
    assert bench.stored() == []
    assert bench.shared.held_bytes == 0
    with gevent.Timeout(10):
        while list((bench.root / "bodies").iterdir()):  # given back when the disk is done with them
            gevent.sleep(0)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(bench, greeted):
    peer = greeted()
    peer.send(TRANSACTION)
    peer.read_until(b"<CR><LF>.<CR><LF>\r\n")
    peer.send(b"x" * 300_000)
    peer.socket.close()
    with gevent.Timeout(10):
        while bench.shared.connections:
            gevent.sleep(0)
    assert bench.stored() == []
    assert bench.shared.held_bytes == 0


def test_a_sick_spool_refuses_at_mail_and_heals(bench, greeted, monkeypatch):
    peer = greeted()
    with monkeypatch.context() as patch:
        patch.setattr(bench.writer, "unhealthy", lambda: SpoolFull("full"))
        assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"452 4.3.1 ")
    assert send_mail(peer, b"x\r\n").startswith(b"250 ")


def test_a_spool_that_fails_while_the_content_comes_refuses_it(bench, greeted, monkeypatch):
    def fail(*arguments: object, **options: object) -> int:
        raise SpoolFull("full")

    peer = greeted()
    with monkeypatch.context() as patch:
        patch.setattr(bench.writer, "append", fail)
        assert send_mail(peer, b"x\r\n").startswith(b"452 4.3.1 ")
    assert bench.stored() == []
    assert bench.shared.held_bytes == 0
    assert send_mail(peer, b"y\r\n").startswith(b"250 ")


def test_a_worker_without_memory_refuses_at_mail(bench, greeted):
    peer = greeted()
    bench.shared.held_bytes = bench.limits.memory_bytes
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"452 4.3.2 ")
    bench.shared.held_bytes = 0
    assert peer.ask(b"MAIL FROM:<a@example.com>").startswith(b"250 ")


def test_many_recipients_count_as_memory(bench, greeted):
    """A few do not; those of a message that ended, or whose client went away, no more."""
    few, many = [
        b"".join(b"RCPT TO:<joe%d@example.org>\r\n" % n for n in range(*span)) for span in ((0, 16), (16, 100))
    ]
    peer = greeted()
    peer.send(b"MAIL FROM:<a@example.com>\r\n" + few)
    peer.read_lines(17)
    assert bench.shared.held_bytes == 0
    peer.send(many)
    peer.read_lines(84)
    assert bench.shared.held_bytes == 100 * ENTRY_BYTES
    bench.shared.held_bytes += bench.limits.memory_bytes  # others'
    assert peer.ask(b"RCPT TO:<ann@example.org>").startswith(b"452 4.3.2 ")
    bench.shared.held_bytes -= bench.limits.memory_bytes
    assert peer.ask(b"RCPT TO:<ann@example.org>").startswith(b"250 ")
    assert bench.shared.held_bytes == 101 * ENTRY_BYTES
    assert peer.ask(b"RSET").startswith(b"250 ")
    assert bench.shared.held_bytes == 0
    peer.send(b"MAIL FROM:<a@example.com>\r\n" + many)
    peer.read_lines(85)
    assert bench.shared.held_bytes == 84 * ENTRY_BYTES
    peer.socket.close()
    with gevent.Timeout(10):
        while bench.shared.connections:
            gevent.sleep(0)
    assert bench.shared.held_bytes == 0


def test_too_many_errors_end_the_session(bench, greeted):
    bench.with_limits(errors=3)
    peer = greeted()
    peer.send(b"X\r\nX\r\nX\r\nX\r\nX\r\n")
    codes = [line[:3] for line in peer.read_to_end().splitlines()]
    assert codes == [b"500", b"500", b"500", b"421"]


def test_the_last_reply_reaches_a_client_that_went_on_talking(bench, greeted):
    bench.with_limits(errors=1)
    peer = greeted()
    peer.send(b"X\r\n")
    with gevent.Timeout(10):
        while not peer.connection.stream.is_parked:
            gevent.sleep(0)
    peer.send(b"MAIL FROM:<a@example.com>\r\n" * 1000)
    assert [line[:3] for line in peer.read_to_end().splitlines()] == [b"500", b"421"]  # and no reset


def test_a_client_that_is_silent_too_long_is_sent_away(bench, greeted):
    peer = greeted()
    gevent.sleep(0)  # let the connection come to its wait
    in_hub(peer.connection.stream.wake, DeadlineExceeded())
    assert peer.read_to_end().startswith(b"421 4.4.2 ")


def test_half_a_command_does_not_cost_a_client_its_last_word(bench, greeted):
    """Closed with input unread a connection is reset, and what waits to be sent is lost."""
    peer = greeted()
    gevent.sleep(0)

    def be_late() -> None:  # in one go, so that the loop does not see the bytes
        peer.socket.send(b"NO")
        peer.connection.stream.wake(DeadlineExceeded())

    in_hub(be_late)
    assert peer.read_to_end().startswith(b"421 4.4.2 ")


def test_the_sweep_finds_who_is_late_and_nobody_else(bench, greeted, monkeypatch):
    late, busy = greeted(), greeted()
    gevent.sleep(0)
    late.connection.stream.deadline_at = 0.0
    deadlines = Deadlines(bench.shared)
    in_hub(deadlines.sweep)
    deadlines.stop()
    assert late.read_to_end().startswith(b"421 4.4.2 ")
    assert busy.ask(b"NOOP").startswith(b"250 ")


def test_draining_waits_for_a_transaction_and_no_longer(bench, greeted):
    idle, sending = greeted(), greeted()
    sending.send(TRANSACTION)
    sending.read_until(b"<CR><LF>.<CR><LF>\r\n")
    gevent.sleep(0)
    assert not idle.connection.is_idle()  # it has just come
    bench.shared.clock.now_s += NEWCOMER_S
    assert idle.connection.is_idle()
    assert not sending.connection.is_idle()
    bench.shared.is_draining = True
    in_hub(idle.connection.stream.wake, Draining())
    assert idle.read_to_end().startswith(b"421 4.3.2 ")
    sending.send(b"x\r\n.\r\n")
    assert [line[:3] for line in sending.read_to_end().splitlines()] == [b"250", b"421"]
    assert len(bench.stored()) == 1


def test_a_fault_of_ours_ends_one_session_and_is_logged(bench, greeted, monkeypatch, tmp_path):
    peer, other = greeted(), greeted()
    with monkeypatch.context() as patch:
        patch.setattr(bench.writer, "unhealthy", lambda: 1 // 0)
        peer.send(b"MAIL FROM:<a@example.com>\r\n")
        assert peer.read_to_end().startswith(b"451 4.3.0 ")
    assert other.ask(b"NOOP").startswith(b"250 ")
