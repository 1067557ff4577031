"""Which user a connection from this machine belongs to: 127.0.0.1 is open to every user of a shared machine.

The kernel lists both ends of a connection with the user who opened each (proc(5), `/proc/net/tcp`); the end of a
connection from another machine is not in its list. A connection is found by both its ends: two of one machine may have
the same port on one side, and one end need not be a loopback address for the other to be (a socket can be bound to any
address of its machine before it connects).
"""

import ipaddress
import os
import struct
from collections.abc import Mapping
from pathlib import Path

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}

End = tuple[str, int]
"""An address and a port."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_foreign_user(peer: End, own: End, tables: Mapping[int, Path] = _TABLES) -> bool:
    """Whether the connection from `peer` to `own` is another user's, neither ours nor root's."""
    user = user_of(peer, own, tables)
    return user is not None and user not in (0, os.getuid())


def user_of(peer: End, own: End, tables: Mapping[int, Path] = _TABLES) -> int | None:
    """The user id behind the end `peer` of a connection; `None` for another machine's, or when the kernel is silent."""
    try:
        ends = [(_address(host), port) for host, port in (peer, own)]
        lines = tables[ends[0][0].version].read_text().splitlines()[1:]
    except (ValueError, OSError):
        return None
    wanted = [f"{_as_in_table(address)}:{port:04X}" for address, port in ends]
    return next((int(entry[7]) for entry in map(str.split, lines) if entry[1:3] == wanted), None)


def _address(host: str) -> _Address:
    """Who listens for IPv6 sees an IPv4 connection as `::ffff:127.0.0.1`; its other end is listed as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def _as_in_table(address: _Address) -> str:
    """The address as 32-bit words in the machine's own byte order."""
    packed = address.packed
    count = len(packed) // 4
    return "".join(f"{word:08X}" for word in struct.unpack(f"={count}I", packed))
