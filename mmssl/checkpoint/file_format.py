"""Format of our own training files, and the refusal of other versions of it."""

from typing import Any

from ..core import UserError
from ..version import __version__

FORMAT = 'mmssl-training-2'  # of version 0.2.0; 0.1.0 wrote mmssl-training-1
FAMILY = 'mmssl-training-'


class OtherVersion(UserError):
    """A training file of another version of mmssl."""


def check_version(content: dict[str, Any], path: str) -> None:
    """Check the format of a training file; other files pass.

    Raises OtherVersion, a UserError that names both versions, for a file of another version.
    """
    found = content.get('format')
    if not isinstance(found, str) or not found.startswith(FAMILY) or found == FORMAT:
        return
    meta = content.get('meta')
    version = meta.get('version') if isinstance(meta, dict) else None
    raise OtherVersion(
        f'{path}: was written by mmssl {version or "of another version"}, and mmssl {__version__} '
        f'reads training files of its own format alone ({FORMAT}, not {found[:40]}): install that '
        'version to continue the run, or train again',
        key='file',
        value=path,
    )
