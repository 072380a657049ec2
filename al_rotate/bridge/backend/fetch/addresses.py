"""The address of a task's image -> a file in the document root, or a URL to request, as Label Studio reads it."""

from __future__ import annotations

import base64
import os
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from ...conversion import addresses
from .hosts import LOCAL_FILES, PORTS, origin, safe_address

# The paths of Label Studio that serve images; a task's address must not make us call others with the token.
_SERVED = re.compile(r"/(data|storage-data)/.+|/tasks/\d+/(resolve|presign)/|/api/projects/\d+/file-proxy/")
_STORAGES = ("s3", "gs", "azure-blob", "redis")  # of Label Studio, which has the keys to them


class Refused(ValueError):
    """An address was not fetched, or gave no image; the message says why and what to do."""


def parse_studio(address: str) -> httpx.URL:
    """Parse Label Studio's own address.

    Raises:
        ValueError: for what is none of http(s).
    """
    try:
        url = httpx.URL(address.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in PORTS or not url.host:
        raise ValueError(f"expected Label Studio's address, like http://localhost:8080, got {address!r:.100}")
    return url


def check_text(address: object) -> str:
    """Return an address without spaces around it.

    Raises:
        Refused: for what is no text, empty, or an image itself (``data:``).
    """
    if not isinstance(address, str) or not address.strip():
        raise Refused(f"expected the address of an image in the task, got {address!r:.100}")
    if "\0" in address:
        raise Refused("expected the address of an image, got one with a NUL in it")
    address = address.strip()
    if address[:5].lower() == "data:":
        raise Refused(f"expected the address of an image in the task, got a data URI ({address[:30]}...)")
    return address


def local_path(address: str, studio: httpx.URL | None) -> str | None:
    """Return the path below the document root that Label Studio's address of a local file means, else None.

    Raises:
        ValueError: for what is no address at all.
    """
    parts = urlsplit(address)
    if (parts.scheme or parts.netloc) and (studio is None or origin(address) != origin(str(studio))):
        return None  # on another host the same path means something else
    return addresses.local_path(address)


def find_local_file(root: Path, path: str) -> Path:
    """Find a file below a document root, by its real location: symlinks and '..' are resolved first.

    Servers on Windows address files with backslashes; those are tried where there is no file of that very name.

    Raises:
        Refused: for a path that leads out of the root, or to no file.
    """
    shown = safe_address(f"{LOCAL_FILES}?d={path}")
    for name in dict.fromkeys((path, posixpath.normpath(path.replace("\\", "/")).lstrip("/"))):
        try:
            file = Path(os.path.realpath(root / name))
            is_file = file.is_file()
        except (OSError, ValueError) as error:
            raise Refused(f"{shown}: {error}") from None
        if not file.is_relative_to(root):
            raise Refused(f"{shown} leaves the document root")
        if is_file:
            return file
    raise Refused(f"{shown}: no such file in the document root {root}: is it Label Studio's LOCAL_FILES_DOCUMENT_ROOT?")


def to_url(address: str, task: int | None, studio: httpx.URL | None) -> httpx.URL:
    """Turn a task's address into a URL to request.

    Args:
        address: of http(s), of Label Studio (/data/...), or of one of its storages, which only it can open.
        task: whose address it is; needed for storages.
        studio: Label Studio's own address.

    Raises:
        Refused: for any other.
    """
    scheme = address.partition("://")[0].lower() if "://" in address else ""
    try:
        if scheme in ("http", "https"):
            return httpx.URL(address)
        if address.startswith("/") and not address.startswith(("//", "/\\")):
            if studio is None:
                raise Refused(
                    f"{safe_address(address)} is served by Label Studio, whose address is not known: set "
                    "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or for local files give --document-root"
                )
            prefix = studio.path.rstrip("/")
            path = address if prefix and address.startswith(f"{prefix}/") else prefix + address
            return studio.join(path)
        if scheme in _STORAGES:
            if task is None or studio is None:
                raise Refused(
                    f"{safe_address(address)} can only be opened by Label Studio's storage: set LABEL_STUDIO_URL "
                    "and LABEL_STUDIO_API_KEY, so that the service can ask it"
                )
            encoded = base64.urlsafe_b64encode(address.encode()).decode()
            return studio.join(f"{studio.path.rstrip('/')}/tasks/{task}/resolve/?fileuri={encoded}")
    except (httpx.InvalidURL, UnicodeError):  # whose text may repeat a log-in
        raise Refused(f"expected the address of an image in the task, got {safe_address(address)}") from None
    raise Refused(
        f"expected an address of http(s), of Label Studio (/data/...) or of one of its storages "
        f"({', '.join(_STORAGES)}), got {safe_address(address)}"
    )


def serves_image(url: httpx.URL, studio: httpx.URL) -> bool:
    """Whether an address of Label Studio is one of its images, as it will see the path, below its own prefix."""
    prefix = studio.path.rstrip("/")
    climbs = ".." in url.path.split("/") or "\\" in url.path
    return not climbs and url.path.startswith(prefix) and bool(_SERVED.fullmatch(url.path[len(prefix) :]))
