"""Hosts and addresses: which belong to this machine or its network, and how messages may show them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from urllib.parse import urlsplit

import httpx

PORTS = {"http": 80, "https": 443}
LOCAL_FILES = "/data/local-files/"


def port_of(url: httpx.URL) -> int:
    """Get the port that a connection goes to."""
    return url.port or PORTS.get(url.scheme, 0)


def parse_host(text: str) -> tuple[str, int | None]:
    """Parse ``host`` or ``host:port``.

    Raises:
        ValueError: for anything else.
    """
    try:
        url = httpx.URL(f"http://{text.strip()}")
        port = urlsplit(f"http://{text.strip()}").port  # httpx drops the default one
        if url.host and not any(map(str.isspace, text.strip())) and url.raw_path in (b"/", b"") and not url.userinfo:
            return url.host, port
    except (httpx.InvalidURL, ValueError):
        pass
    raise ValueError(f"expected a host like images.example.org or 10.0.0.5:9000, got {text!r}")


async def find_numbers(host: str, port: int) -> set[str]:
    """Look up the IP addresses of a host.

    In a daemon thread: one that waits for a name server that does not answer must not hold up the end of the process.

    Raises:
        OSError, OverflowError, UnicodeError: as ``socket.getaddrinfo`` does.
    """
    found: Future[set[str]] = Future()

    def look_up() -> None:
        if not found.set_running_or_notify_cancel():
            return
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.set_result({str(row[4][0]) for row in rows})
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="name", daemon=True).start()
    return await asyncio.wrap_future(found)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the internet; an address that embeds another counts as that one.

    >>> [is_public(address) for address in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(str(embedded))
    return ip.is_global and not ip.is_multicast


def is_loopback(host: str) -> bool:
    """Whether a name or an IP address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(address: str) -> tuple[str, str, int]:
    """Get scheme, host and port; all names of this machine count as one."""
    parts = urlsplit(address)
    host = "localhost" if is_loopback(parts.hostname or "") else parts.hostname or ""
    return parts.scheme, host, parts.port or PORTS.get(parts.scheme, 0)


def safe_address(address: object) -> str:
    """Shorten an address for messages: printable, and without log-in and query, which may hold keys."""
    try:
        parts = urlsplit(str(address))
        query = f"?{parts.query}" if parts.path == LOCAL_FILES else ""
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else ""
        text = f"{place}{parts.path}{query}"[:300]
    except ValueError:
        return "an address that cannot be read"
    return text if text.isprintable() else ascii(text)[1:-1]
