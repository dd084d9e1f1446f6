"""Local web servers with faults: error codes, broken connections, stalls, and any bytes at all."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHUNK = 1 << 14


@dataclass
class Page:
    """What the server says at one path; each list is used up request by request.

    ``status`` are codes to answer with instead, ``breaks`` numbers of bytes after which the
    connection ends, ``stall`` seconds of silence in the middle.
    """

    content: bytes = b''
    mark: str | None = '"1"'
    kind: str = 'application/octet-stream'
    to: str | None = None
    status: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    stall: float = 0.0
    says_length: int | None = None


class Server:
    """``pages`` by path; ``asked`` lists (path with query, headers) of every request."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self) -> None:
                server.asked.append((self.path, dict(self.headers)))
                self.close_connection = True
                answer(self, server.pages.get(self.path.partition('?')[0]))

            def do_HEAD(self) -> None:
                server.asked.append((self.path, dict(self.headers)))
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.http.server_port}'

    def put(self, path: str, content: bytes = b'', **page: Any) -> str:
        """Add a page and return its address."""
        self.pages[path] = Page(content, **page)
        return self.url + path

    def ranges(self) -> list[str | None]:
        """Return the Range header of every request."""
        return [headers.get('Range') for _, headers in self.asked]

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def answer(handler: BaseHTTPRequestHandler, page: Page | None) -> None:
    status = 404 if page is None else page.status.pop(0) if page.status else 200
    if page is None or (status != 200 and page.to is None):
        handler.send_error(status)
        return
    if page.to is not None:
        handler.send_response(302)
        handler.send_header('Location', page.to)
        handler.send_header('Content-Length', '0')
        handler.end_headers()
        return
    begin = 0
    wanted = handler.headers.get('Range')
    if wanted and page.mark and handler.headers.get('If-Range') == page.mark:
        begin = int(wanted.removeprefix('bytes=').rstrip('-'))
    if begin > len(page.content) or (wanted and begin == len(page.content)):
        handler.send_error(416)
        return
    body = page.content[begin:]
    handler.send_response(206 if begin else 200)
    if begin:
        end = len(page.content)
        handler.send_header('Content-Range', f'bytes {begin}-{end - 1}/{end}')
    handler.send_header('Content-Type', page.kind)
    length = len(body) if page.says_length is None else page.says_length
    if length >= 0:
        handler.send_header('Content-Length', str(length))
    if page.mark:
        handler.send_header('ETag', page.mark)
    handler.end_headers()
    if page.breaks:
        body = body[: page.breaks.pop(0)]
    try:
        for i in range(0, len(body), CHUNK):
            if page.stall and i:
                time.sleep(page.stall)
            handler.wfile.write(body[i : i + CHUNK])
            handler.wfile.flush()
    except OSError:
        pass  # the other side has had enough


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.stop()


class RawServer:
    """Answers each request by a function of (connection, head of the request); ``asked`` has these.

    ``answers`` are taken one by one, the last for all requests that follow.
    """

    def __init__(self, *answers: Callable[[socket.socket, bytes], object]) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.listener.getsockname()[1]}'

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:  # the end of the test
                return
            with connection:
                head = b''
                while b'\r\n\r\n' not in head and (more := connection.recv(4096)):
                    head += more
                self.asked.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                with suppress(OSError):  # the other side has had enough
                    answer(connection, head)

    def stop(self) -> None:
        """Close the port; a blocked `accept` ends by the shutdown."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
