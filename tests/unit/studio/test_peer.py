"""A connection from this machine is ours, root's or another user's, as the kernel says."""

import os
import socket
from pathlib import Path

import pytest

from envbuild.studio.peer import is_foreign_user, user_of

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: {end} {other} 01 00000000:00000000 00:00000000 00000000  {user}        0 1 1 0 20 4 30 10 -1\n"

PEER, OWN = ("127.0.0.1", 50000), ("127.0.0.1", 8765)


def table(
    folder: Path, user: int, end: str = "0100007F:C350", other: str = "0100007F:223D", more: str = ""
) -> dict[int, Path]:
    file = folder / "tcp"
    file.write_text(HEAD + more + LINE.format(end=end, other=other, user=user))
    return {4: file, 6: file}


def test_another_user_s_connection_is_foreign(tmp_path: Path) -> None:
    assert is_foreign_user(PEER, OWN, table(tmp_path, os.getuid() + 1))


@pytest.mark.parametrize("user", [0, os.getuid()])
def test_ours_and_root_s_are_not(tmp_path: Path, user: int) -> None:
    assert not is_foreign_user(PEER, OWN, table(tmp_path, user))


def test_ipv6_is_looked_up_too(tmp_path: Path) -> None:
    host = "00000000000000000000000001000000"
    tables = table(tmp_path, os.getuid() + 1, f"{host}:C350", f"{host}:223D")
    assert is_foreign_user(("::1", 50000), ("::1", 8765), tables)


def test_an_ipv4_connection_to_a_socket_for_ipv6_is_looked_up_as_ipv4(tmp_path: Path) -> None:
    tables = {4: table(tmp_path, os.getuid() + 1)[4], 6: tmp_path / "missing"}
    assert is_foreign_user(("::ffff:127.0.0.1", 50000), ("::ffff:127.0.0.1", 8765), tables)


def test_an_address_of_this_machine_that_is_no_loopback_address_hides_nobody(tmp_path: Path) -> None:
    assert is_foreign_user(("192.0.2.2", 50000), OWN, table(tmp_path, os.getuid() + 1, "020200C0:C350"))


def test_another_connection_from_the_same_port_says_nothing(tmp_path: Path) -> None:
    elsewhere = LINE.format(end="0100007F:C350", other="0100007F:0050", user=os.getuid())
    assert is_foreign_user(PEER, OWN, table(tmp_path, os.getuid() + 1, more=elsewhere))


@pytest.mark.parametrize("host", ["192.168.1.5", "testclient", ""])
def test_other_machines_have_no_users(tmp_path: Path, host: str) -> None:
    assert not is_foreign_user((host, 50000), OWN, table(tmp_path, os.getuid() + 1))


def test_where_the_kernel_does_not_tell_nobody_is_refused(tmp_path: Path) -> None:
    assert not is_foreign_user(PEER, OWN, {4: tmp_path / "missing"})


def test_the_kernel_s_own_table_knows_our_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert user_of(client.getsockname(), client.getpeername()) == os.getuid()
