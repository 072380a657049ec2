"""The address of a task's image -> the file it names, read as Label Studio's server reads it: one rule per scheme.

=========================================== =========================================================================
``/data/local-files/?d=PATH``               a path below the server's document root: decoded once, "+" is a space, a
                                            leading slash does not count; a backslash is Windows' slash
``/data/upload/PROJECT/8HEX-NAME``          an upload; the server's prefix does not count
``s3://``, ``gs://``, ``azure-blob://`` ... a key of a store, taken literally ("#" and "%" belong to it) up to a "?"
``/tasks/N/resolve/?fileuri=BASE64``        one of the above, encoded; also ``presign``, and of projects
``http://``, ``https://`` and bare paths    a web address: decoded; the file is the last part of its path, or else the
                                            only file among its query's values (``/get?file=a.jpg``)
``data:``                                   the picture itself, which names no file
=========================================== =========================================================================
"""

from __future__ import annotations

import base64
import posixpath
import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qs, parse_qsl, unquote, urlsplit

from ...data.images import SUFFIXES

_LOCAL = re.compile(r"/data/local-files/?$")
_UPLOAD = re.compile(r"(?:^|/)data/upload/|^/?upload/\d+/")
_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_CUT = re.compile(r"(.{60,})_[0-9A-Za-z]{7}")
_RESOLVE = re.compile(r"/(?:tasks|projects)/\d+/(?:resolve|presign)/?$")
_SCHEME = re.compile(r"data(?=:)|[a-z][a-z0-9+._-]*(?=://)", re.IGNORECASE)


def local_path(address: str) -> str | None:
    """Return the path below the document root that a local file's address asks for; None for other addresses."""
    parts = _split(address)
    if not _LOCAL.search(parts.path):
        return None
    wanted = parse_qs(parts.query).get("d", [""])[-1]  # of several, the server takes the last
    return posixpath.normpath(wanted).lstrip("/") if wanted else ""


def file_path(address: str) -> PurePosixPath:
    """Return the path that an image's address names, from the root of its store, site or folder.

    Raises:
        ValueError: for an address that is malformed or names no file.

    >>> [str(file_path(a)) for a in ("s3://bucket/x/tile#1.png", "/data/upload/1/0a1b2c3d-a.jpg")]
    ['x/tile#1.png', 'a.jpg']
    """
    path = PurePosixPath(_read(address.strip()))
    if path.name in ("", "..") or not path.stem.strip() or "\0" in path.name:
        raise ValueError(f"expected an address that ends in a file's name, got {_short(address)}")
    return path


def image_suffix(address: str) -> str:
    """Return the suffix of an image's address, with the dot; empty if it has none."""
    try:
        suffix = file_path(address).suffix
    except ValueError:
        return ""
    return suffix if suffix.lower() in SUFFIXES else ""


def upload_names(name: str) -> set[str]:
    """Return what the server may make of the name of an uploaded file: ``my image (1).jpg`` -> ``my_image_1.jpg``.

    There are two where the name has accents: browsers send them as part of their letters, or behind them, and the
    server takes out the latter.
    """
    forms = (unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    return {re.sub(r"[^-\w.]", "", form.strip().replace(" ", "_")) for form in forms}


def start_of_upload(name: str) -> str | None:
    """Return what the server has left of a long name before seven letters of its own; None for other names.

    It keeps the addresses of uploads within 100 characters: ``upload/12/0a1b2c3d-A_VERY_LONG_AbCdEf1.jpg``.
    """
    cut = _CUT.fullmatch(name)
    return cut[1] if cut else None


def _read(address: str) -> str:
    scheme = _SCHEME.match(address)
    kind = scheme[0].lower() if scheme else ""
    if kind == "data":
        raise ValueError(f"expected an address, got the picture itself ({_short(address)}), which names no file")
    if kind not in ("", "http", "https", "file"):
        return address.partition("://")[2].partition("?")[0].partition("/")[2]
    if (path := local_path(address)) is not None:
        return path.replace("\\", "/")
    parts = _split(address)
    if _RESOLVE.search(parts.path):
        return _read(_decode(parse_qs(parts.query).get("fileuri", [""])[-1], address))
    if not kind and "\\" in address:
        return address.replace("\\", "/")
    path = unquote(parts.path)
    if _UPLOAD.search(path):
        return _PREFIX.sub("", PurePosixPath(path).name)
    if not _is_image(path):
        values = (value for _, value in parse_qsl(parts.query))
        named = {file for file in (_read(v) if _SCHEME.match(v) else v for v in values) if _is_image(file)}
        if len(named) == 1:
            return named.pop()
    return path.lstrip("/")


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise ValueError(f"expected an address, got {_short(address)}: {error}") from None


def _decode(text: str, address: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        raise ValueError(f"expected a base64 fileuri, got {_short(address)}") from None


def _is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SUFFIXES


def _short(address: str) -> str:
    return repr(address if len(address) <= 120 else f"{address[:80]}...")
