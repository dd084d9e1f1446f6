"""What is said about data, once a message."""

import pytest

from mmssl.datasets import notices


def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the notices go to from now on."""
    said: list[str] = []
    notices.say_once.cache_clear()
    notices.once().by.zero_()
    monkeypatch.setattr(notices, 'print_log', lambda text, **_: said.append(text))
    return said
