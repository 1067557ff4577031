"""What jobs named, as something that can be sent: the name of a file need not be UTF-8, and a page and JSON are.

Bytes of a name that are no UTF-8 are surrogates in a `str` (PEP 383), which no encoder takes; people see a replacement
character there. What comes back from a browser to name a file goes by `FileEntry.asked` instead, which loses nothing.
"""

from typing import Any

import orjson


def sendable(text: str) -> str:
    """`text` without surrogates."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_json(document: Any) -> bytes:
    """`document` as JSON."""
    try:
        return orjson.dumps(document)
    except TypeError:  # rare, so that not every answer pays for a look at all of it
        return orjson.dumps(_sendable(document))


def _sendable(document: Any) -> Any:
    if isinstance(document, str):
        return sendable(document)
    if isinstance(document, dict):
        return {_sendable(name): _sendable(value) for name, value in document.items()}
    return [_sendable(each) for each in document] if isinstance(document, list | tuple) else document
