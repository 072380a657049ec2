"""The image of a task as a local file. Addresses come from users, so only what was allowed is fetched.

- Files of Label Studio's local storage are read from its document root, and never from outside of it.
- Everything else comes over http(s), from Label Studio's own address and from hosts that were allowed at the start.
  A private address (this machine, its network, a cloud's metadata service) counts only if host **and** port were
  allowed. A name is resolved once per request and the connection goes to the address that was checked, so that a name
  server cannot answer differently the second time. Redirects are followed by hand, with the same checks at each hop.
- Label Studio's token goes to Label Studio alone, and only to the paths that serve images.
- One image has one deadline, from its host's name to its last byte. Whatever goes wrong with it concerns no other.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
from PIL import Image

from ..redaction import shorten
from .addresses import Refused, check_text, find_local_file, local_path, parse_studio, serves_image, to_url
from .hosts import PORTS, find_numbers, is_public, parse_host, port_of, safe_address
from .policy import FetchPolicy

LOG = logging.getLogger("al_rotate.bridge.backend")
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")  # others, such as EPS, start programs when they are read
MAX_REDIRECTS = 5
DOWNLOADS = 8  # images at a time
_TOKEN_SECONDS = 240  # access tokens live for 300
_POLL_SECONDS = 0.2  # between two looks at whether to stop


class Wanted(NamedTuple):
    """An image to fetch.

    Args:
        address: as the task has it, unchecked.
        target: file for a download; afterwards it exists only if it is an image.
        task: its id, for the storages that Label Studio opens for us.
    """

    address: object
    target: Path
    task: int | None = None


class Fetcher:
    """Fetches the images of tasks; threads may share it.

    Args:
        label_studio: its address; images that it serves come from there.
        token: for it, personal or legacy.
        policy: where other images may come from; None: from nowhere.
        stopped: once it is set, what is being fetched is given up.
        changes: fields of :class:`~al_rotate.bridge.backend.fetch.FetchPolicy` that differ from `policy`.

    Raises:
        ValueError: for an invalid host, or an address of Label Studio that is none.
    """

    def __init__(
        self,
        label_studio: str | None = None,
        token: str | None = None,
        policy: FetchPolicy | None = None,
        stopped: threading.Event | None = None,
        **changes: Any,
    ) -> None:
        self._stopped = stopped or threading.Event()
        policy = replace(policy or FetchPolicy(), **changes)
        self.limits, self._token = policy.limits, token
        self._studio = parse_studio(label_studio) if label_studio else None
        self._root = Path(os.path.realpath(policy.document_root)) if policy.document_root else None
        self._hosts = {parse_host(host) for host in policy.hosts}
        if self._studio is not None:
            self._hosts.add((self._studio.host, port_of(self._studio)))
        self._certificates = httpx.create_ssl_context(trust_env=False)
        self._access: tuple[float, str] | None = None

    def fetch(self, address: object, target: Path, task: int | None = None) -> Path:
        """Fetch the image of a task; arguments as of :class:`Wanted`.

        Returns:
            `target`, or the file in the document root.

        Raises:
            Refused: says why and what to do.
        """
        (got,) = self.fetch_all({"": Wanted(address, target, task)}).values()
        if isinstance(got, Refused):
            raise got
        return got

    def fetch_all(self, wanted: Mapping[str, Wanted], seconds: float | None = None) -> dict[str, Path | Refused]:
        """Fetch images, several at a time.

        Args:
            wanted: name -> image.
            seconds: for all of them together, besides the limit of each.

        Returns:
            By name, in order: the image's file, or why there is none.
        """
        return anyio.run(self._fetch_all, wanted, seconds)

    async def _fetch_all(self, wanted: Mapping[str, Wanted], seconds: float | None) -> dict[str, Path | Refused]:
        got: dict[str, Path | Refused] = {}
        limiter = anyio.CapacityLimiter(DOWNLOADS)

        async def fetch_one(name: str, image: Wanted) -> None:
            async with limiter:
                result = await self._fetch(client, image)
                got[name] = Refused(shorten(str(result))) if isinstance(result, Refused) else result

        # No proxies of the environment: they would connect to addresses that were never checked. The deadline is ours.
        async with httpx.AsyncClient(verify=self._certificates, trust_env=False, timeout=None) as client:
            with anyio.move_on_after(seconds) as scope:
                async with anyio.create_task_group() as watch:
                    watch.start_soon(self._cancel_when_stopped, scope)
                    async with anyio.create_task_group() as group:
                        for name, image in wanted.items():
                            group.start_soon(fetch_one, name, image)
                    watch.cancel_scope.cancel()
        late = f"was not fetched within the {seconds or 0:g} s of its request: select fewer tasks at a time"
        late = "was not fetched: the service was being stopped" if self._stopped.is_set() else late
        return {
            name: got[name] if name in got else Refused(f"{safe_address(image.address)} {late}")
            for name, image in wanted.items()
        }

    async def _cancel_when_stopped(self, scope: anyio.CancelScope) -> None:
        while not self._stopped.is_set():
            await anyio.sleep(_POLL_SECONDS)
        scope.cancel()

    async def _fetch(self, client: httpx.AsyncClient, image: Wanted) -> Path | Refused:
        """Fetch one image; whatever it is that its address, its host or its file does wrong, it is this image's."""
        shown = safe_address(image.address)
        try:
            address = check_text(image.address)
            try:
                local = None if self._root is None else local_path(address, self._studio)
            except ValueError:  # its text may repeat a log-in
                raise Refused(f"expected the address of an image in the task, got {shown}") from None
            if self._root is not None and local is not None:
                return self._check(find_local_file(self._root, local), shown)
            try:
                with anyio.fail_after(self.limits.seconds):
                    await self._download(client, to_url(address, image.task, self._studio), image.target)
                return self._check(image.target, shown)
            except BaseException:
                image.target.unlink(missing_ok=True)
                raise
        except Refused as refused:
            return refused
        except TimeoutError:
            return Refused(f"{shown} did not arrive in {self.limits.seconds:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return Refused(f"{shown} could not be fetched: {type(error).__name__}")
        except Exception as error:
            LOG.info("%s could not be fetched", shown, exc_info=True)
            return Refused(f"{shown} could not be fetched: {type(error).__name__}: {error}")

    async def _download(self, client: httpx.AsyncClient, url: httpx.URL, target: Path) -> None:
        for _ in range(MAX_REDIRECTS + 1):
            pinned, headers = await self._pin(url), await self._headers(client, url)
            request = client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": url.host})
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if not response.has_redirect_location:
                    await self._receive(response, url, target)
                    return
                url = url.join(response.headers["location"])
            finally:
                await response.aclose()
        raise Refused(f"{safe_address(url)} comes after more than {MAX_REDIRECTS} redirects")

    async def _pin(self, url: httpx.URL) -> httpx.URL:
        """Check that an address may be fetched, and replace the host's name by its number."""
        if url.scheme not in PORTS or url.userinfo or not url.host:
            raise Refused(f"expected an http(s) address without a log-in in it, got {safe_address(url)}")
        port = port_of(url)
        by_port = (url.host, port) in self._hosts
        if not by_port and not ((url.host, None) in self._hosts and url.port is None):
            raise Refused(
                f"{safe_address(url)} is on {url.host}:{port}, from which images may not be fetched: if that is "
                f"intended, start the service with --allow-host {url.host}:{port}"
            )
        if self._studio is not None and self._is_studio(url) and not serves_image(url, self._studio):
            hint = "; does it ask to log in? check LABEL_STUDIO_API_KEY" if "login" in url.path else ""
            raise Refused(f"{safe_address(url)} is no path of Label Studio that serves images{hint}")
        try:
            numbers = await find_numbers(url.host, port)
        except (OSError, OverflowError, UnicodeError) as error:
            raise Refused(f"the host {url.host} is not known: {error}") from None
        if not by_port and (private := sorted(number for number in numbers if not is_public(number))):
            raise Refused(
                f"{safe_address(url)} is at {private[0]}, an address of this machine or its network: if that is "
                f"intended, start the service with --allow-host {url.host}:{port}"
            )
        return url.copy_with(host=min(numbers, key=lambda number: (":" in number, number)))

    def _is_studio(self, url: httpx.URL) -> bool:
        ours = self._studio
        return ours is not None and (url.scheme, url.host, port_of(url)) == (ours.scheme, ours.host, port_of(ours))

    async def _headers(self, client: httpx.AsyncClient, url: httpx.URL) -> dict[str, str]:
        headers = {"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity", "User-Agent": "al_rotate"}
        if self._token and self._is_studio(url):
            headers["Authorization"] = await self._authorization(client, self._token)
        return headers

    async def _authorization(self, client: httpx.AsyncClient, token: str) -> str:
        if token.count(".") != 2:
            return f"Token {token}"  # a legacy one
        # A personal access token is exchanged for a short-lived one.
        if self._access is None or time.monotonic() - self._access[0] > _TOKEN_SECONDS:
            answer = await client.post(f"{self._studio}/api/token/refresh/", json={"refresh": token})
            if not answer.is_success:
                raise Refused(f"Label Studio does not take the token ({answer.status_code}): LABEL_STUDIO_API_KEY")
            self._access = (time.monotonic(), str(answer.json()["access"]))
        return f"Bearer {self._access[1]}"

    async def _receive(self, response: httpx.Response, url: httpx.URL, target: Path) -> None:
        if response.status_code != 200:
            hint = ": check LABEL_STUDIO_API_KEY" if response.status_code in (401, 403) and self._is_studio(url) else ""
            raise Refused(f"{safe_address(url)} answered {response.status_code}{hint}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Refused(f"{safe_address(url)} is sent compressed, which was not requested")
        length, limit = response.headers.get("content-length", ""), self.limits.bytes
        too_large = Refused(f"{safe_address(url)} has more than {limit} bytes, the limit of one image")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        written = 0
        with open(target, "wb") as file:
            async for block in response.aiter_raw():
                written += len(block)
                if written > limit:
                    raise too_large
                file.write(block)

    def _check(self, path: Path, address: str) -> Path:
        try:
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
        except (Image.UnidentifiedImageError, OSError, SyntaxError, ValueError):
            raise Refused(f"{address} is no image ({', '.join(FORMATS)})") from None
        except Image.DecompressionBombError as error:
            raise Refused(f"{address}: {error}") from None
        if width * height > self.limits.pixels:
            raise Refused(f"{address} has {width} x {height} pixels, more than the {self.limits.pixels} allowed")
        return path
