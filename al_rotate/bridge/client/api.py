"""Label Studio's HTTP interface as the bridge uses it: signed in by the SDK, tasks as plain JSON.

The SDK's own pager takes a 404 for the end of the data, and its models are slow over a million boxes. So this module
pages by keyset: each page asks for the tasks after the last one seen. Tasks that are edited, added or deleted meanwhile
cannot shift a page, and a page that is shorter than its own count is an error.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from label_studio_sdk import LabelStudio as Sdk
from label_studio_sdk.core.api_error import ApiError

PAGE = 200  # tasks: 7 MB at 50 boxes each
ID_FILTER = "filter:tasks:data.al_image_id"
QUERY_CHARACTERS = 6000  # servers accept URLs of some 8,000
Filter = dict[str, Any]


class LabelStudioError(RuntimeError):
    """Label Studio could not be reached, refused, or answered something unexpected; `status` is of HTTP, or None."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the same request would be refused again."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in (408, 409, 429)


class NotAllowed(LabelStudioError):
    """The token is wrong, expired, or not allowed to do this."""


class Api:
    """One server, one token.

    Args:
        url: of the server.
        token: a personal access token or a legacy one; it stays in memory.
        timeout: seconds for one answer.

    Raises:
        LabelStudioError: if no Label Studio answers there.
        NotAllowed: if it does not accept the token.
    """

    def __init__(self, url: str, token: str, timeout: float = 120) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected an address like http://localhost:8080, got {url!r}")
        if not token:
            raise NotAllowed(f"expected a token for {url}, got none: {_TOKEN_HELP}")
        self.url, self.timeout = url.rstrip("/"), timeout
        if not token.isascii() or not token.isprintable():
            raise NotAllowed(f"expected a token for {url}, got one with odd characters: {_TOKEN_HELP}")
        # The SDK checks at once whether a personal token has expired.
        self.sdk = self.do(Sdk, base_url=self.url, api_key=token, timeout=timeout)
        self.user = self.do(self.sdk.users.whoami)

    def do(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call the SDK, and translate its errors into ours, which say what to do."""
        try:
            return call(*arguments, **options)
        except ApiError as error:
            raise self.explain(error.status_code, error.body) from error
        except httpx.TimeoutException as error:
            raise LabelStudioError(f"{self.url} did not answer in {self.timeout:g} s: is it busy? try again") from error
        except httpx.HTTPError as error:
            raise LabelStudioError(f"no Label Studio answers at {self.url} ({error}): is it running?") from error

    def get(self, path: str, **params: Any) -> Any:
        """GET JSON; the SDK retries while the server is busy or restarting."""
        return self._json(self._request(path, "GET", params=params, retries=4))

    def once(self, method: str, path: str, body: Any = None, timeout: float | None = None, **params: Any) -> Any:
        """Send exactly once. After an error the server may have acted all the same: check before sending again."""
        return self._json(self._request(path, method, body, params, retries=0, timeout=timeout))

    def upload(self, path: str, name: str, content: bytes, **params: Any) -> Any:
        """Send one file, exactly once."""
        return self._json(self._request(path, "POST", params=params, files={"file": (name, content)}, retries=0))

    def tasks(self, project: int, filters: Sequence[Filter] = (), fields: Sequence[str] = ()) -> Iterator[dict]:
        """Iterate over all tasks that pass every filter, by id.

        Args:
            project: its id.
            filters: of the Data Manager, joined by "and".
            fields: keys to keep, of tasks **and of what they contain**: the server drops the others at every level.

        Raises:
            LabelStudioError: if a page holds fewer tasks than it says there are.
        """
        last = 0
        while True:
            after = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": last}
            query = {"filters": {"conjunction": "and", "items": [*filters, after]}, "ordering": ["tasks:id"]}
            nested = set(fields) & {"annotations", "predictions", "drafts"}
            page = self.get(
                "api/tasks",
                project=project,
                page_size=PAGE,
                fields="all" if nested else "task_only",
                include=",".join(["id", *fields]),
                query=_as_text(query),
            )
            tasks, total = page.get("tasks"), page.get("total")
            ids = [task.get("id", 0) for task in tasks] if isinstance(tasks, list) else []
            if (
                not isinstance(total, int)
                or len(ids) != min(total, PAGE)
                or ids != sorted(ids)
                or last >= min([*ids, last + 1])
            ):
                raise LabelStudioError(
                    f"{self.url} says that project {project} has {total} more tasks after task {last}, and gave "
                    f"{len(ids)} of {min(total or 0, PAGE)}: nothing of this was taken over; try again"
                )
            yield from tasks
            if total <= PAGE:
                return
            last = ids[-1]

    def newest(self, project: int) -> str | None:
        """When a task was last created or answered, by the server's clock; None without tasks."""
        query = {"ordering": ["-tasks:updated_at"]}
        page = self.get("api/tasks", project=project, page_size=1, include="id,updated_at", query=_as_text(query))
        return str(page["tasks"][0]["updated_at"]) if page["tasks"] else None

    def clock(self) -> datetime | None:
        """Read the server's clock, to the second; None if it does not tell."""
        stamp = self._request("api/version", "GET", retries=4).headers.get("date")
        try:
            return parsedate_to_datetime(stamp) if stamp else None
        except ValueError:
            return None

    def count(self, project: int, *filters: Filter) -> int:
        """Count the tasks that pass every filter."""
        query = {"filters": {"conjunction": "and", "items": list(filters)}}
        answer = self.get("api/tasks", project=project, page_size=1, include="id", query=_as_text(query))
        return int(answer["total"])

    def explain(self, status: int | None, body: Any) -> LabelStudioError:
        """Make our error for an HTTP error."""
        detail = body
        if isinstance(body, Mapping):
            detail = body.get("validation_errors") or body.get("detail") or body
        if status in (401, 403):
            return NotAllowed(f"{self.url} does not take this token ({status}: {detail}): {_TOKEN_HELP}", status)
        return LabelStudioError(f"{self.url} answered {status}: {str(detail)[:500]}", status)

    def _request(
        self,
        path: str,
        method: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        retries: int = 0,
        files: Any = None,
        timeout: float | None = None,
    ) -> httpx.Response:
        # The one use of a private name of the SDK: its wrapper refreshes access tokens, and nothing public does.
        wrapper = self.sdk._client_wrapper.httpx_client
        options: Any = {"max_retries": retries, "timeout_in_seconds": timeout or self.timeout}
        return self.do(
            wrapper.request, path, method=method, json=body, params=params, files=files, request_options=options
        )

    def _json(self, response: httpx.Response) -> Any:
        try:
            body = response.json() if response.content else None
        except ValueError:
            body = response.text[:300]
            if response.is_success:
                raise LabelStudioError(f"expected JSON from {response.url.path} of {self.url}, got {body!r}") from None
        if not response.is_success:
            raise self.explain(response.status_code, body)
        return body


def _as_text(query: Mapping[str, Any]) -> str:
    """Write a query as a parameter. The server decodes it once more than others: "a%20b" would become "a b"."""
    return json.dumps(query).replace("%", "%25")


def is_one_of(image_ids: Sequence[str]) -> Filter:
    """Select tasks of these images."""
    return {"filter": ID_FILTER, "operator": "in_list", "type": "List", "value": list(image_ids)}


def portions(image_ids: Iterable[str]) -> Iterator[list[str]]:
    """Split image ids so that each portion fits into one URL, where every special character takes twelve."""

    def length(image_id: str) -> int:
        return 8 + sum(1 if c.isalnum() and c.isascii() else 12 for c in image_id)

    return split_by_size(image_ids, length, QUERY_CHARACTERS)


def split_by_size(
    image_ids: Iterable[str], size_of: Callable[[str], int], largest: int, most: float = math.inf
) -> Iterator[list[str]]:
    """Split image ids, in order, into parts of up to `most` whose sizes sum up to `largest`; a larger one is alone."""
    part: list[str] = []
    size = 0
    for image_id in image_ids:
        more = size_of(image_id)
        if part and (len(part) >= most or size + more > largest):
            yield part
            part, size = [], 0
        part.append(image_id)
        size += more
    if part:
        yield part


def changed_since(moment: str) -> Filter:
    """Select tasks created, or answered anew, at this moment of the server's clock or later."""
    return {
        "filter": "filter:tasks:updated_at",
        "operator": "greater_or_equal",
        "type": "Datetime",
        "value": moment,
    }


OURS: Filter = {"filter": ID_FILTER, "operator": "empty", "type": "String", "value": "False"}


def pauses(attempts: int, first: float = 1.0) -> Iterator[int]:
    """Count attempts 0, 1, 2, ... with growing pauses between."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(first * 2 ** (attempt - 1), 30))
        yield attempt


_TOKEN_HELP = (
    "copy one from Label Studio's Account & Settings (Personal Access Token, or Legacy Token where they are allowed) "
    "and set LABEL_STUDIO_API_KEY to it"
)
