"""Sessions of `requests` that trust an answer with as little as there is need for.

On a redirect `requests` adds what netrc has for the new host and takes any address; it reads what answers to the end.
Ours send credentials to the host that they were given for and to no other, call an address that is none an error of
the request like any other, and read of an answer that is not a file no more than an answer needs.
"""

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

_LONGEST = 1 << 20
"""Bytes of an answer that is read whole: a few lines as JSON, or a page with an error."""


def new_session() -> "requests.Session":
    """A session of our kind; importing `requests` takes a while, so nothing does before one is needed."""
    return _kind()()


def read_whole(answer: "requests.Response") -> "requests.Response":
    """Read the body of a streamed answer, for `text` and `json()`; of one without end the beginning stays.

    Raises:
        requests.RequestException: it broke off.
    """
    data = bytearray()
    with answer:
        for piece in answer.iter_content(1 << 14):
            data += piece
            if len(data) > _LONGEST:
                break
    # where requests itself puts it: it has no other way to say "enough"
    answer._content, answer._content_consumed = bytes(data[:_LONGEST]), True  # type: ignore[attr-defined]
    return answer


@functools.cache
def _kind() -> "type[requests.Session]":
    import requests

    class Session(requests.Session):
        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            """Called for a redirect."""
            before, after = str(response.request.url), str(prepared_request.url)
            if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
                prepared_request.headers.pop("Authorization", None)

        def send(self, request: requests.PreparedRequest, **how: Any) -> requests.Response:
            try:
                return super().send(request, **how)
            except requests.RequestException:
                raise
            except ValueError as error:  # urllib.parse, about the address of a redirect
                raise requests.exceptions.InvalidURL(str(error)) from None

    return Session
