"""Files of the Hugging Face hub, by addresses as timm writes them."""

import re
from pathlib import Path

import httpx2
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from ...core import UserError
from .web import refusal

PREFIX = 'hf-hub:'
ADDRESS = re.compile(
    r'hf-hub:(?P<repo>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w.-]{1,96}))?'
    r'(?:/(?P<file>[\w./-]{1,200}))?',
    re.ASCII,
)
FILE = 'model.safetensors'  # which timm, and our export, write


def is_hub(address: str) -> bool:
    """Whether an address is one of the hub."""
    return address.startswith(PREFIX)


def fetch(address: str) -> Path:
    """Return the local file of ``hf-hub:OWNER/NAME[@REVISION][/FILE]``, by default its weights.

    It is kept in huggingface_hub's own cache. Raises UserError when it cannot be had.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise refusal(address, 'write hf-hub:OWNER/NAME, hf-hub:OWNER/NAME@REVISION or .../FILE')
    file = found['file'] or FILE
    try:
        return Path(hf_hub_download(found['repo'], file, revision=found['revision']))
    except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OSError, ValueError) as error:
        raise _unavailable(address, error) from None


def _unavailable(address: str, error: Exception) -> UserError:
    reason = ' '.join(str(error).split())[:200] or type(error).__name__
    return refusal(
        address,
        f'could not be fetched ({reason}); get it by hand and pass the path of the file',
    )
