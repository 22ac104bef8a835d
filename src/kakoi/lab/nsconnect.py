#!/usr/bin/python3 -IS
"""The door into the lab, as ssh's ProxyCommand: connect from inside a network namespace and hand ssh the socket.

    ssh -o ProxyCommand="nsconnect.py NAMESPACE %h %p" -o ProxyUseFdpass=yes HOST

ssh stays on this machine's side and no byte passes through this program (ssh_config(5), ProxyUseFdpass).
Stands alone: standard library only, Python 3.9 or newer, for the system's own interpreter.
"""

import ctypes
import os
import socket
import sys
from pathlib import Path

CLONE_NEWNET = 0x40000000
"""setns(2): the descriptor is a network namespace."""
TIMEOUT_SECONDS = 10


def enter(namespace: str) -> None:
    """Move this thread into a named network namespace."""
    descriptor = os.open(Path("/run/netns") / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(descriptor)


def main() -> int:
    """Connect and pass the socket on; 255 and one line for people when that fails, as ssh itself would."""
    if len(sys.argv) != 4:  # noqa: PLR2004 - a stand-alone program's three arguments
        sys.stderr.write("usage: nsconnect.py NAMESPACE HOST PORT\n")
        return 2
    namespace, host, port = sys.argv[1:]
    try:
        enter(namespace)
    except OSError as error:
        sys.stderr.write(
            f"nsconnect: cannot enter namespace {namespace}: {error.strerror}; is the lab up, are you root?\n"
        )
        return 255
    try:
        connection = socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS)
    except OSError as error:
        sys.stderr.write(f"nsconnect: {host} port {port} from {namespace}: {error}\n")
        return 255
    connection.settimeout(None)
    with socket.socket(fileno=os.dup(sys.stdout.fileno())) as ssh:
        socket.send_fds(ssh, [b"\0"], [connection.fileno()])
    return 0


if __name__ == "__main__":
    sys.exit(main())
