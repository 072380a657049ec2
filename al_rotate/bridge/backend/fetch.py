"""The image of a task as a local file. Addresses come from users, so only what was allowed is fetched.

- Files of Label Studio's local storage are read from its document root, and never from outside of it.
- Everything else comes over http(s), from Label Studio's own address and from hosts that were allowed at the start.
  A private address (this machine, its network, a cloud's metadata service) counts only if host **and** port were
  allowed. A name is resolved once per request and the connection goes to the address that was checked, so that a name
  server cannot answer differently the second time. Redirects are followed by hand, with the same checks at each hop.
- Label Studio's token goes to Label Studio alone, and only to the paths that serve images.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from PIL import Image

from .hosts import LOCAL_FILES, PORTS, is_public, parse_host, port_of, safe_address
from .options import FetchPolicy

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # others, such as EPS, start programs when they are read
MAX_REDIRECTS = 5
# The paths of Label Studio that serve images; a task's address must not make us call others with the token.
_SERVED = re.compile(r"/(data|storage-data)/.+|/tasks/\d+/(resolve|presign)/|/api/projects/\d+/file-proxy/")
_STORAGES = ("s3", "gs", "azure-blob", "redis")  # of Label Studio, which has the keys to them
_TOKEN_SECONDS = 240  # access tokens live for 300


class Refused(ValueError):
    """An address was not fetched, or gave no image; the message says why and what to do."""


class Fetcher:
    """Fetches the images of tasks; threads may share it.

    Args:
        label_studio: its address; images that it serves come from there.
        token: for it, personal or legacy.
        policy: where other images may come from; None: from nowhere.
        changes: fields of :class:`~al_rotate.bridge.backend.options.FetchPolicy` that differ from `policy`.

    Raises:
        ValueError: for an invalid host.
    """

    def __init__(
        self,
        label_studio: str | None = None,
        token: str | None = None,
        policy: FetchPolicy | None = None,
        **changes: Any,
    ) -> None:
        policy = replace(policy or FetchPolicy(), **changes)
        self.limits, self._token = policy.limits, token
        self._studio = httpx.URL(label_studio.rstrip("/")) if label_studio else None
        self._root = Path(os.path.realpath(policy.document_root)) if policy.document_root else None
        self._hosts = {parse_host(host) for host in policy.hosts}
        if self._studio is not None:
            self._hosts.add((self._studio.host, port_of(self._studio)))
        # No proxies of the environment: they would connect to addresses that were never checked.
        self._client = httpx.Client(timeout=self.limits.seconds, trust_env=False, follow_redirects=False)
        self._access: tuple[float, str] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(self, address: object, target: Path, task: int | None = None) -> Path:
        """Fetch the image of a task.

        Args:
            address: as the task has it.
            target: file for a download; afterwards it exists only if it is an image.
            task: its id, for the storages that Label Studio opens for us.

        Returns:
            `target`, or the file in the document root.

        Raises:
            Refused: says why and what to do.
        """
        if not isinstance(address, str) or not address.strip():
            raise Refused(f"expected the address of an image in the task, got {address!r:.100}")
        if "\0" in address:
            raise Refused("expected the address of an image, got one with a NUL in it")
        address = address.strip()
        if self._root is not None and urlsplit(address).path == LOCAL_FILES and not urlsplit(address).netloc:
            path = self._find_local_file(address)
        else:
            path = self._download(self._url(address, task), target)
        try:
            self._check(path, safe_address(address))
        except Refused:
            if path == target:
                target.unlink()
            raise
        return path

    def _find_local_file(self, address: str) -> Path:
        """Find a file below the document root, by its real location: symlinks and '..' are resolved first."""
        assert self._root is not None
        relative = parse_qs(urlsplit(address).query).get("d", [""])[0]
        try:
            path = Path(os.path.realpath(self._root / relative))
        except (OSError, ValueError) as error:
            raise Refused(f"{safe_address(address)}: {error}") from None
        if not path.is_relative_to(self._root):
            raise Refused(f"{safe_address(address)} leaves the document root")
        if not path.is_file():
            raise Refused(f"{safe_address(address)}: no such file in the document root")
        return path

    def _url(self, address: str, task: int | None) -> httpx.URL:
        """Turn a task's address into a URL to request."""
        scheme = address.partition("://")[0].lower() if "://" in address else ""
        try:
            if scheme in ("http", "https"):
                return httpx.URL(address)
            if address.startswith("/") and not address.startswith(("//", "/\\")):
                studio = self._require_studio(address)
                prefix = studio.path.rstrip("/")
                path = address if prefix and address.startswith(f"{prefix}/") else prefix + address
                return studio.join(path)
            if scheme in _STORAGES:
                if task is None or self._studio is None:
                    raise Refused(
                        f"{safe_address(address)} can only be opened by Label Studio's storage: set LABEL_STUDIO_URL "
                        "and LABEL_STUDIO_API_KEY, so that the service can ask it"
                    )
                encoded = base64.urlsafe_b64encode(address.encode()).decode()
                prefix = self._studio.path.rstrip("/")
                return self._studio.join(f"{prefix}/tasks/{int(task)}/resolve/?fileuri={encoded}")
        except (httpx.InvalidURL, ValueError) as error:
            if isinstance(error, Refused):
                raise
            raise Refused(f"{safe_address(address)} is no address: {error}") from None
        raise Refused(
            f"expected an address of http(s), of Label Studio (/data/...) or of one of its storages "
            f"({', '.join(_STORAGES)}), got {safe_address(address)}"
        )

    def _require_studio(self, address: str) -> httpx.URL:
        if self._studio is None:
            raise Refused(
                f"{safe_address(address)} is served by Label Studio, whose address is not known: set LABEL_STUDIO_URL "
                "and LABEL_STUDIO_API_KEY, or for local files give the document root"
            )
        return self._studio

    def _download(self, url: httpx.URL, target: Path) -> Path:
        deadline = time.monotonic() + self.limits.seconds
        try:
            for _ in range(MAX_REDIRECTS + 1):
                request = self._client.build_request("GET", self._pinned(url), headers=self._headers(url))
                request.extensions["sni_hostname"] = url.host
                response = self._client.send(request, stream=True)
                try:
                    if response.has_redirect_location:
                        url = url.join(response.headers["location"])
                        continue
                    self._receive(response, url, target, deadline)
                    return target
                finally:
                    response.close()
        except httpx.TimeoutException:
            raise Refused(f"{safe_address(url)} did not answer in {self.limits.seconds:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Refused(f"{safe_address(url)} could not be fetched: {type(error).__name__}") from None
        raise Refused(f"{safe_address(url)} comes after more than {MAX_REDIRECTS} redirects")

    def _pinned(self, url: httpx.URL) -> httpx.URL:
        """Check that an address may be fetched, and replace the host's name by its number."""
        if url.scheme not in PORTS or url.userinfo or not url.host:
            raise Refused(f"expected an http(s) address without a log-in in it, got {safe_address(url)}")
        port = port_of(url)
        by_port = (url.host, port) in self._hosts
        if not by_port and not ((url.host, None) in self._hosts and url.port is None):
            raise Refused(
                f"{safe_address(url)} is on {url.host}:{port}, from which images may not be fetched: allow it when the "
                "service starts (allow_hosts)"
            )
        if self._is_studio(url) and not _SERVED.fullmatch(self._path(url)):
            hint = "; does it ask to log in? check LABEL_STUDIO_API_KEY" if "login" in url.path else ""
            raise Refused(f"{safe_address(url)} is no path of Label Studio that serves images{hint}")
        try:
            numbers = {str(row[4][0]) for row in socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)}
        except (OSError, UnicodeError) as error:
            raise Refused(f"the host {url.host} is not known: {error}") from None
        if not by_port and (private := sorted(number for number in numbers if not is_public(number))):
            raise Refused(
                f"{safe_address(url)} is at {private[0]}, an address of this machine or its network: if that is "
                "intended, name host and port when the service starts (allow_hosts)"
            )
        return url.copy_with(host=min(numbers, key=lambda number: (":" in number, number)))

    def _is_studio(self, url: httpx.URL) -> bool:
        ours = self._studio
        return ours is not None and (url.scheme, url.host, port_of(url)) == (ours.scheme, ours.host, port_of(ours))

    def _path(self, url: httpx.URL) -> str:
        """The path as Label Studio will see it, below its own prefix; empty for one that climbs out."""
        assert self._studio is not None
        prefix = self._studio.path.rstrip("/")
        climbs = ".." in url.path.split("/") or "\\" in url.path
        return "" if climbs or not url.path.startswith(prefix) else url.path[len(prefix) :]

    def _headers(self, url: httpx.URL) -> dict[str, str]:
        headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "al_rotate"}
        if self._token and self._is_studio(url):
            headers["Authorization"] = self._authorization(self._token)
        return headers

    def _authorization(self, token: str) -> str:
        if token.count(".") != 2:
            return f"Token {token}"  # a legacy one
        # A personal access token is exchanged for a short-lived one.
        if self._access is None or time.monotonic() - self._access[0] > _TOKEN_SECONDS:
            address = f"{self._studio}/api/token/refresh/"
            answer = self._client.post(address, json={"refresh": token})
            if not answer.is_success:
                raise Refused(f"Label Studio does not take the token ({answer.status_code}): LABEL_STUDIO_API_KEY")
            self._access = (time.monotonic(), str(answer.json()["access"]))
        return f"Bearer {self._access[1]}"

    def _receive(self, response: httpx.Response, url: httpx.URL, target: Path, deadline: float) -> None:
        if response.status_code != 200:
            hint = ": check LABEL_STUDIO_API_KEY" if response.status_code in (401, 403) and self._is_studio(url) else ""
            raise Refused(f"{safe_address(url)} answered {response.status_code}{hint}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Refused(f"{safe_address(url)} is sent compressed, which was not requested")
        length = response.headers.get("content-length", "")
        limit = self.limits.bytes
        too_large = Refused(f"{safe_address(url)} has more than {limit} bytes, the limit of one image")
        if length.isdigit() and int(length) > limit:
            raise too_large
        written = 0
        try:
            with open(target, "wb") as file:
                for block in response.iter_raw():
                    written += len(block)
                    if written > limit:
                        raise too_large
                    if time.monotonic() > deadline:
                        raise Refused(f"{safe_address(url)} did not arrive in {self.limits.seconds:g} s")
                    file.write(block)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _check(self, path: Path, address: str) -> None:
        try:
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
        except (Image.UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise Refused(f"{address} is no image ({', '.join(FORMATS)})") from None
        except Image.DecompressionBombError as error:
            raise Refused(f"{address}: {error}") from None
        if width * height > self.limits.pixels:
            raise Refused(f"{address} has {width} x {height} pixels, more than the {self.limits.pixels} allowed")
