"""Fetches the policy of a domain over HTTPS (RFC 8461 section 3.3), with greenlets.

The server is known by its certificate alone, so nothing depends on how its address was found. What it says is bounded
in bytes and in time, all in all: a server that drips gains nothing. Redirects are not followed.
"""

import http.client
import ssl as stdlib
from time import monotonic
from typing import NamedTuple

import gevent
from gevent import socket, ssl

from mta import pem
from mta.deliver import sts_policy
from mta.deliver.http_connection import ReplyReader
from mta.deliver.sts_policy import BadPolicy, Policy
from mta.dns.answer import Answer, Status
from mta.dns.message import Type
from mta.dns.stub import Resolver
from mta.errors import ConfigError
from mta.smtp.client_reply import printable

FETCH_S = 20.0  # for all of it; RFC 8461 section 3.3 suggests at most a minute
PORT = 443
ADDRESSES = 4  # that are tried
HEAD_BYTES = 16384  # of a reply; far more than a static file needs
PATH = "/.well-known/mta-sts.txt"

FETCH_ERROR, INVALID, WEBPKI_INVALID = "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"
"""Why there is no policy, in the words of reports (RFC 8460 section 4.3.2.2)."""


class Fetched(NamedTuple):
    """The policy, or why there is none: a word for reports and a line for people."""

    policy: Policy | None
    result: str = ""
    text: str = ""


class _NoPolicy(Exception):
    """Why there is none: a word for reports, and a line for people."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result


def make_context(authorities: str) -> ssl.SSLContext:
    """A context for servers of policies; `authorities` is a PEM file, or empty for the system's.

    Only names in the certificate's subjectAltName count. Reads files; raises `ConfigError` when they cannot be read.
    """
    context = ssl.SSLContext(stdlib.PROTOCOL_TLS_CLIENT)
    context.minimum_version = stdlib.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    try:
        pem.trust(context, authorities)
    except pem.PemError as error:
        raise ConfigError([f"tls_ca {error}"]) from None
    return context


class Fetcher:
    """Fetches policies."""

    def __init__(
        self, resolver: Resolver, context: ssl.SSLContext, *, port: int = PORT, timeout_s: float = FETCH_S
    ) -> None:
        self._resolver = resolver
        self._context = context
        self._port = port
        self._timeout_s = timeout_s

    def fetch(self, domain: bytes) -> Fetched:
        """The policy of a domain (A-labels), now. Waits, `timeout_s` at most; never raises for what others do."""
        timeout = gevent.Timeout.start_new(self._timeout_s)
        try:
            return Fetched(sts_policy.parse(self._get(domain)))
        except BadPolicy as error:
            return Fetched(None, INVALID, str(error))
        except _NoPolicy as error:
            return Fetched(None, error.result, str(error))
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            return Fetched(None, FETCH_ERROR, "timed out")
        finally:
            timeout.close()

    def _get(self, domain: bytes) -> bytes:
        """What the server has at the place of the policy. Raises `_NoPolicy`."""
        host = "mta-sts." + domain.decode("ascii", "replace")
        sock = self._connected(host)
        try:
            return _body(sock, host, monotonic() + self._timeout_s)
        except OSError as error:
            raise _NoPolicy(FETCH_ERROR, _words(error)) from None
        except http.client.HTTPException as error:
            text = printable(f"no reply of HTTP: {type(error).__name__} {error}".encode("utf-8", "replace"))
            raise _NoPolicy(FETCH_ERROR, text) from None
        finally:
            sock.close()

    def _connected(self, host: str) -> ssl.SSLSocket:
        """A connection with the server of that name, inside of TLS. Raises `_NoPolicy`."""
        failure = _NoPolicy(FETCH_ERROR, f"{host} has no address")
        for address in self._addresses(host)[:ADDRESSES]:
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            try:
                sock.settimeout(self._timeout_s / 2)  # so that one that is silent does not keep us from the next
                sock.connect((address, self._port))
                # The end of a policy without a length must be the server's own word: hence no ragged one.
                return self._context.wrap_socket(sock, server_hostname=host, suppress_ragged_eofs=False)
            except stdlib.SSLCertVerificationError as error:
                failure = _NoPolicy(WEBPKI_INVALID, pem.why(error))
            except OSError as error:
                failure = _NoPolicy(FETCH_ERROR, f"cannot connect: {_words(error)}")
            except ValueError:  # of the names that DNS allows, some are none for a certificate
                failure = _NoPolicy(FETCH_ERROR, "no name that a certificate could have")
            except BaseException:
                sock.close()
                raise
            sock.close()
        raise failure

    def _addresses(self, host: str) -> list[str]:
        asking = gevent.spawn(self._resolver.lookup, host.encode(), Type.AAAA)
        ipv4 = self._resolver.lookup(host.encode(), Type.A)
        ipv6: Answer[str] = asking.get()
        for answer in (ipv4, ipv6):
            if answer.status is Status.FAILED and not (ipv4.records or ipv6.records):
                raise _NoPolicy(FETCH_ERROR, f"cannot look up the address of {host}: {answer.reason}")
        return [*ipv6.records[: ADDRESSES // 2], *ipv4.records]


def _body(sock: ssl.SSLSocket, host: str, deadline_at: float) -> bytes:
    """Ask for the policy. Raises `_NoPolicy`, `OSError` and `HTTPException`."""
    fields = (f"GET {PATH} HTTP/1.1", f"Host: {host}", "User-Agent: mta", "Accept: text/plain", "Connection: close")
    sock.sendall("".join(f"{field}\r\n" for field in (*fields, "")).encode("ascii", "replace"))
    reader = ReplyReader(sock)
    reader.begin(deadline_at, HEAD_BYTES + 2 * sts_policy.POLICY_BYTES)
    response = http.client.HTTPResponse(reader, method="GET")  # type: ignore[arg-type]
    response.begin()
    if response.status != http.HTTPStatus.OK:
        raise _NoPolicy(FETCH_ERROR, f"status {response.status}")
    media_type = (response.getheader("Content-Type", "") or "").partition(";")[0].strip().lower()
    if media_type != "text/plain":
        raise _NoPolicy(INVALID, f"not text/plain, but {printable(media_type.encode('utf-8', 'replace')) or 'nothing'}")
    body = response.read(sts_policy.POLICY_BYTES + 1)
    if len(body) > sts_policy.POLICY_BYTES:
        raise _NoPolicy(INVALID, f"longer than {sts_policy.POLICY_BYTES} bytes")
    if response.length:
        raise _NoPolicy(FETCH_ERROR, "cut off")
    return body


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, stdlib.SSLError):
        return pem.why(error)
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed"
    return error.strerror or "failed"
