"""Open http(s) addresses only, with safe redirects; show addresses without keys."""

import urllib.request
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ...core import UserError


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http(s) addresses only, and never from https to http."""

    max_redirections = 5

    def redirect_request(self, req: Any, *answer: Any) -> Any:
        """Return the next request; ``answer`` ends with the new address.

        Raises UserError for any other kind of address.
        """
        scheme = urlsplit(answer[-1]).scheme
        if scheme not in ('http', 'https') or (req.type == 'https' and scheme == 'http'):
            raise UserError(
                f'{shown(req.full_url)}: redirected to {shown(answer[-1])}, which is not followed; '
                'get the file by hand and pass its path',
                key='file',
                value=shown(req.full_url),
            )
        return super().redirect_request(req, *answer)


def opener() -> urllib.request.OpenerDirector:
    """Return an opener of http(s) addresses; urllib's own would open file and ftp too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        Redirects,
    ):
        opener.add_handler(handler())
    return opener


def shown(address: str) -> str:
    """Return an address for messages: without its query, which may be somebody's key."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition('@')[2]
    return urlunsplit(parts._replace(netloc=host, query='...' if parts.query else '', fragment=''))
