"""One command from a workspace to the browser: a Label Studio server of one's own, a project, the next query in it."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from ..loop.active_loop import ActiveLoop
from ..workspace import Workspace
from . import local_server
from .connection import FILE, Connection, connect

PORT = 8080
_POLL = 0.3  # seconds
_AT_ONCE = 1.0  # seconds


@contextmanager
def open_studio(
    folder: str | Path, port: int | None = None, environment: str | Path | None = None
) -> Iterator[tuple[local_server.LocalServer, Connection]]:
    """A running server with the workspace's open query in it; it stops when the block ends.

    The workspace is connected to it from then on: ``al-rotate collect`` takes the corrections over while it runs. Its
    database is kept in ``folder/label_studio``; when the server starts again, on whatever port, it goes on.

    Args:
        folder: a workspace.
        port: None takes 8080, or a free one where that is taken.
        environment: where Label Studio is or will be installed; see :func:`~al_rotate.bridge.local_server.install`.

    Yields:
        The server, and the connection to the project.

    Raises:
        ValueError: when the workspace is connected with another server.
    """
    folder = Path(folder).absolute()
    with Workspace.open(folder, read_only=True) as workspace:
        pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
        classes = workspace.classes
    images = Path(os.path.commonpath([path.parent for path in pool.values()]))
    environment = local_server.install(environment)
    chosen = port or (PORT if local_server.is_free(PORT) else None)
    with local_server.LocalServer(folder / "label_studio", images.parent, environment, chosen, backends=True) as server:
        connection = _connected(folder, server, classes, images)
        with ActiveLoop(folder) as loop:
            try:
                loop.query()
            except ValueError as error:  # the pool is used up, or labels were renamed: that is mended in the browser
                warnings.warn(f"nothing was asked for: {error}", stacklevel=3)
        yield server, connection


def _connected(folder: Path, server: local_server.LocalServer, classes: tuple[str, ...], images: Path) -> Connection:
    """The workspace's connection to this server: the one that it has, at the server's place of today, or a new one."""
    place: dict[str, Any] = {
        "url": server.url,
        "document_root": str(images.parent),
        "token_file": str(server.token_file),
    }
    before = Connection.load(folder)
    if before is not None and before.token_file != place["token_file"]:
        raise ValueError(
            f"{folder} is answered at {before.url}, project {before.project}: al-rotate query and collect work with "
            f"that; delete {folder / FILE} to have it answered at a server of its own"
        )
    if before is not None and server.has_project(before.project):
        now = replace(before, **place)
        now.save(folder)
        return now
    kind = "local" if images.parent != images else "upload"
    url = place.pop("url")
    return connect(folder, url, server.token, classes, folder.name, images=kind, **place)


def run(
    folder: str | Path,
    port: int | None = None,
    environment: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Open a studio, say where it is, and keep it until Ctrl-C, SIGTERM, the terminal's or the server's own end.

    Raises:
        RuntimeError: when the server ends by itself.
    """

    interrupted: float | None = None

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        # Two at once, as a terminal and a wrapper send them, are one.
        if interrupted is None or time.monotonic() - interrupted > _AT_ONCE:
            interrupted = time.monotonic()
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]  # SIGINT too where it is ignored, as in a shell's background
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup means it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        say("starting Label Studio; the first start of a workspace takes a minute")
        with open_studio(folder, port, environment) as (server, connection):
            say(f"open   {server.url}/projects/{connection.project}/data")
            say(f"log in {server.email}  password {server.password}")
            say(f"then   al-rotate collect {folder}   in another terminal, as often as you like")
            say("Ctrl-C stops the server; everything is kept")
            # Python drops what is raised in a finaliser or a weak reference's callback, so the flag is asked as well.
            while server.running and interrupted is None:
                time.sleep(_POLL)
            if interrupted is None:
                raise RuntimeError(f"Label Studio ended by itself; its log is {server.log}")
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    say("stopped")
