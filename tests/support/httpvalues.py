"""A server of values over HTTP/1.1, in threads: the standard library's, with what it knows."""

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote


class HttpValues:
    """Answers GET /anything/KEY to those who have the token; a context manager. `asked` gathers the paths."""

    def __init__(self, values: Mapping[str, str], *, token: str) -> None:
        self.asked: list[str] = []
        self.is_down = False
        self._values = values
        self._token = token
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port: int = self._server.server_address[1]
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "HttpValues":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(self.path)
                value = outer._values.get(unquote(self.path.rpartition("/")[2]))
                status = 404 if value is None else 200
                if self.headers["Authorization"] != f"Bearer {outer._token}":
                    status = 401
                if outer.is_down:
                    status = 503
                body = (value or "").encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler
