"""Sockets of servers: on loopback unless that would be safe elsewhere, and taken before anybody is told the address."""

import ipaddress
import socket
from contextlib import suppress

from data.errors import Refused, SettingsError


def loopback(host: str, otherwise: str) -> str:
    """The address to listen on.

    Args:
        host: what was asked for.
        otherwise: the sentence for a person when it is not loopback.

    Raises:
        Refused: It is not loopback.
    """
    address = "127.0.0.1" if host == "localhost" else host
    with suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise Refused(otherwise)


def bound(address: str, port: int) -> socket.socket:
    """A socket that listens on the port; 0 picks a free one.

    Raises:
        SettingsError: The port is taken or may not be used.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With the protocol named, asyncio sends each part of an answer at once, and not after the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        msg = f"Port {port} of {address} cannot be used: {error.strerror}. Give another with --port."
        raise SettingsError(msg) from error
    return listener
