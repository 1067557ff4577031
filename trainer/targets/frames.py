"""What a container says without a terminal: both of its outputs in frames on one connection.

A frame is one byte for the stream, three of padding, four for the length, and the piece (Docker Engine API, "Attach to
a container").
"""

import socket
from collections.abc import Iterator

PIECE = 1 << 16
"""Bytes of an output that are passed on at a time."""

_HEADER = 8


def frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(stream, piece) until the connection ends; 1 is standard output, 2 standard error. Long frames come in pieces.

    Raises:
        OSError: the engine has gone.
    """
    while header := _read(connection, _HEADER):
        left = int.from_bytes(header[4:], "big")
        while left:
            piece = connection.recv(min(left, PIECE))
            if not piece:
                return
            left -= len(piece)
            yield header[0], piece


def _read(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or none at the end."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
