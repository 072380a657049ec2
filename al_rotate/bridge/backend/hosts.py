"""Hosts and addresses: which are this machine's or its network's, and how they may be shown."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import httpx

PORTS = {"http": 80, "https": 443}
LOCAL_FILES = "/data/local-files/"


def port_of(url: httpx.URL) -> int:
    """The port that a connection goes to."""
    return url.port or PORTS.get(url.scheme, 0)


def parse(named: str) -> tuple[str, int | None]:
    """``host`` or ``host:port``.

    Raises:
        ValueError: for anything else.
    """
    try:
        url = httpx.URL(f"http://{named.strip()}")
        port = urlsplit(f"http://{named.strip()}").port  # httpx drops the default one
        if url.host and not any(map(str.isspace, named.strip())) and url.raw_path in (b"/", b"") and not url.userinfo:
            return url.host, port
    except (httpx.InvalidURL, ValueError):
        pass
    raise ValueError(f"expected a host like images.example.org or 10.0.0.5:9000, got {named!r}")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet; one that stands for another counts as that.

    >>> [is_public(one) for one in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1")]
    [True, False, False, False]
    """
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv6Address):
        inner = one.ipv4_mapped or one.sixtofour or (one.teredo[1] if one.teredo else None)
        if inner is None and one in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(one) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return one.is_global and not one.is_multicast


def is_loopback(host: str) -> bool:
    """Whether a name or an IP address says this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def origin(address: str) -> tuple[str, str, int]:
    """Scheme, host and port; the names of this machine are one."""
    parts = urlsplit(address)
    host = "localhost" if is_loopback(parts.hostname or "") else parts.hostname or ""
    return parts.scheme, host, parts.port or PORTS.get(parts.scheme, 0)


def shown(address: object) -> str:
    """An address as a message may show it: without log-in and query, which can hold keys."""
    try:
        parts = urlsplit(str(address))
        query = f"?{parts.query}" if parts.path == LOCAL_FILES else ""
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else ""
        return f"{place}{parts.path}{query}"[:300]
    except ValueError:
        return "an address that cannot be read"
