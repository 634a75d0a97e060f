"""A process that answers TLS clients as an SMTP worker does: `tls_worker.py TLS_FD SOCKET_FD`.

Says hello to each client that connects, and prints whether its session went on from an earlier one.
"""

import socket
import sys
from typing import cast

from mta.config import Tls
from mta.server.stream import Stream
from mta.server.tls import TlsContexts
from mta.server.tls_stream import TlsStream
from tests.support.tls import BlockingStream


def main() -> None:
    context = TlsContexts(int(sys.argv[1]), Tls()).context("ask")
    listener = socket.socket(fileno=int(sys.argv[2]))
    buffer = bytearray(262144)
    while True:
        client, _ = listener.accept()
        tls = TlsStream(cast(Stream, BlockingStream(client)), context)
        tls.handshake(buffer, 0.0)
        tls.send(b"hello", 0.0)
        while tls.receive_into(buffer, 0.0):
            pass
        tls.close()
        print("resumed" if tls.facts.resumed else "full", flush=True)


if __name__ == "__main__":
    main()
