"""Ask http(s) servers: safe redirects, a least rate, and addresses that are shown without keys."""

import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from ...core import UserError

TIMEOUT = 30.0  # seconds to connect, and without a byte
WINDOW = 60.0  # seconds over which the rate is measured; headers count as no bytes
LEAST_RATE = 1000  # bytes a second
TOTAL = 86_400.0  # seconds of one transfer
REDIRECTS = 5
ENCODINGS = {'', 'identity', 'gzip', 'deflate'}  # of a body, which httpx undoes
ADDRESS = re.compile(
    r'[A-Za-z][A-Za-z0-9+.-]*://|(?:https?|file|hf-hub|timm|torchvision):', re.IGNORECASE
)

# it logs every address, and with it somebody's key
logging.getLogger('httpx2').setLevel(logging.WARNING)


class TooSlow(Exception):
    """A transfer that was cut off because it would hardly end."""


def is_address(text: str) -> bool:
    """Whether a text is meant as an address; all else is a path."""
    return ADDRESS.match(text) is not None


def shown(address: str) -> str:
    """Return an address for messages: without its query, which may be somebody's key."""
    try:
        parts = urlsplit(address)
    except ValueError:
        parts = None
    if parts is None or not parts.netloc:  # no address, which nothing may be parsed of
        return re.split('[?#]', address)[0].rpartition('@')[2]
    host = parts.netloc.rpartition('@')[2]
    return urlunsplit(parts._replace(netloc=host, query='...' if parts.query else '', fragment=''))


def refusal(address: str, reason: str) -> UserError:
    """Return the error of an address, which is named without its key."""
    return UserError(f'{shown(address)}: {reason}', key='file', value=shown(address))


def check_address(address: str) -> None:
    """Raise UserError for what is no http(s) address of a server."""
    try:
        urlsplit(address).port  # noqa: B018, which raises for brackets and for ports
        url = httpx2.URL(address)
        fine = url.scheme in ('http', 'https') and bool(url.host)
    except (ValueError, httpx2.InvalidURL) as error:
        raise refusal(address, f'is no address ({error}); check its spelling') from None
    if not fine:
        raise refusal(address, 'addresses begin with http://SERVER/, https:// or file:///')


class Pace(threading.Thread):
    """Cuts a connection that brings less than `LEAST_RATE`, or takes longer than `TOTAL`.

    A read that waits for the next byte has a limit of its own; this one ends servers that send a
    byte now and then, headers without end, or one '100 Continue' after the other.
    """

    def __init__(self) -> None:
        super().__init__(name='pace of a download', daemon=True)
        self.connection: socket.socket | None = None
        self.received = 0  # bytes of the body
        self.verdict = ''
        self.over = threading.Event()

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Keep the connection of a request (httpx's extension ``trace``)."""
        if event.endswith('connect_tcp.complete'):
            self._close()
            # a second handle of the same connection: TLS takes the first one over
            self.connection = info['return_value'].get_extra_info('socket').dup()

    def run(self) -> None:
        """Measure once in a window, until the transfer is over."""
        begin = time.monotonic()
        before = 0
        while not self.over.wait(WINDOW):
            rate = (self.received - before) / WINDOW
            before = self.received
            if rate < LEAST_RATE:
                self.verdict = f'{rate:.0f} bytes a second are below {LEAST_RATE}'
            elif time.monotonic() - begin > TOTAL:
                self.verdict = f'not whole after {TOTAL / 3600:.0f} hours'
            if self.verdict:
                if self.connection is not None:
                    with suppress(OSError):  # it is closed already
                        self.connection.shutdown(socket.SHUT_RDWR)
                return

    def stop(self) -> None:
        """End the thread, and let go of the connection."""
        self.over.set()
        self.join()
        self._close()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()


@dataclass
class Answer:
    """What a server says: status, headers, and the body."""

    response: httpx2.Response
    pace: Pace

    def blocks(self) -> Iterator[bytes]:
        """Yield the body as it comes, its content encoding undone."""
        for block in self.response.iter_bytes():
            self.pace.received = self.response.num_bytes_downloaded
            yield block
        self._check()

    def _check(self) -> None:
        # a body without a length ends where its connection does
        if self.pace.verdict:
            raise TooSlow(self.pace.verdict)


@contextmanager
def ask(address: str, headers: dict[str, str]) -> Iterator[Answer]:
    """Yield the answer to a request, after at most `REDIRECTS` redirects.

    Raises UserError for an address or a redirect that is not followed, `TooSlow`, and
    httpx2.HTTPError for all else that goes wrong on the way.
    """
    check_address(address)
    own = {'User-Agent': 'mmssl', 'Accept-Encoding': 'identity'}
    pace = Pace()
    pace.start()
    try:
        with httpx2.Client(timeout=TIMEOUT) as client:
            request = client.build_request(
                'GET', address, headers={**own, **headers}, extensions={'trace': pace.note}
            )
            response = _follow(client, request)
            try:
                yield Answer(response, pace)
            finally:
                response.close()
    except (httpx2.HTTPError, httpx2.InvalidURL):
        if pace.verdict:
            raise TooSlow(pace.verdict) from None
        raise
    finally:
        pace.stop()


def check_redirect(address: str, at: httpx2.URL, to: httpx2.URL) -> None:
    """Raise UserError about ``address`` for a redirect off the web, or from https to http."""
    if to.scheme not in ('http', 'https') or (at.scheme, to.scheme) == ('https', 'http'):
        raise refusal(
            address,
            f'redirected to {shown(str(to))}, which is not followed; get the file by hand and pass '
            'its path',
        )


def _follow(client: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
    """Return the answer; redirects lead to http(s) only, and never from https to http."""
    first = str(request.url)
    for _ in range(REDIRECTS + 1):
        response = client.send(request, stream=True)
        following = response.next_request
        if following is None:
            return response
        response.close()
        check_redirect(first, request.url, following.url)
        request = following
    raise refusal(
        first,
        f'redirects more than {REDIRECTS} times; get the file by hand and pass its path',
    )
