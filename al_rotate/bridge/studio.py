"""One command from a workspace to the browser: a local Label Studio server, a project, the next query in it."""

from __future__ import annotations

import os
import shlex
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
from ..storage.locks import FileLock, Locked
from ..workspace import Workspace
from .connection import FILE, Connection, connect
from .local_server import EMAIL, LocalServer, install, is_free

PORT = 8080
_POLL_SECONDS = 0.3
_SAME_INTERRUPT_SECONDS = 1.0


@contextmanager
def open_studio(
    folder: str | Path, port: int | None = None, environment: str | Path | None = None
) -> Iterator[tuple[LocalServer, Connection]]:
    """Run a server with the workspace's open query in it; it stops when the block ends.

    The workspace stays connected to it: ``al-rotate collect`` takes over the corrections while it runs. Its database
    is kept in ``folder/label_studio``, so that the next start resumes, on whatever port.

    Args:
        folder: a workspace.
        port: None takes 8080, or a free one if that is in use.
        environment: where Label Studio is or will be installed; see :func:`~al_rotate.bridge.local_server.install`.

    Yields:
        The server, and the connection to the project.

    Raises:
        ValueError: if the workspace is connected to another server.
    """
    folder = Path(folder).absolute()
    with Workspace.open(folder, read_only=True) as workspace:
        pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
        classes = workspace.classes
    images = Path(os.path.commonpath([path.parent for path in pool.values()]))
    environment = install(environment)
    port = port or (PORT if is_free(PORT) else None)
    with LocalServer(folder / "label_studio", images.parent, environment, port, backends=True) as server:
        connection = _connect(folder, server, classes, images)
        with ActiveLoop(folder) as loop:
            try:
                loop.query()
            except ValueError as error:  # the pool is used up, or labels were renamed: that is corrected in the browser
                warnings.warn(f"no images were queried: {error}", stacklevel=3)
        yield server, connection


def _connect(folder: Path, server: LocalServer, classes: tuple[str, ...], images: Path) -> Connection:
    """Connect the workspace to this server: update the connection that it has, or make a new one."""
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
        connection = replace(before, **place)
        connection.save(folder)
        return connection
    kind = "local" if images.parent != images else "upload"
    url = place.pop("url")
    return connect(folder, url, server.token, classes, folder.name, images=kind, **place)


def push_to_running(folder: str | Path) -> Connection | None:
    """Bring the workspace's open query into its server, if that runs already in another process.

    Returns:
        The connection to the project; None if no server of the workspace runs.

    Raises:
        LabelStudioError: if the server does not answer.
    """
    folder = Path(folder).absolute()
    connection = Connection.load(folder)
    try:
        with FileLock(folder / "label_studio" / "lock").acquire(note=""):
            return None
    except FileNotFoundError:
        return None  # there has been no server yet
    except Locked:
        if connection is None or connection.token_file != str(folder / "label_studio" / "token"):
            return None  # it is starting for the first time, or people answer elsewhere
    with ActiveLoop(folder) as loop:
        loop.query()
    return connection


def _waiting(folder: str | Path) -> str:
    """How many tasks wait for people."""
    with Workspace.open(folder, read_only=True) as workspace:
        count = len(workspace.ids("queried"))
    return f"{count} {'task waits' if count == 1 else 'tasks wait'} for labels there"


def run(
    folder: str | Path,
    port: int | None = None,
    environment: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Open a studio, print its address, and keep it until Ctrl-C, SIGTERM, or the end of the terminal or the server.

    While the workspace's server runs in another process, the next query goes to that, and this returns.

    Args:
        folder, port, environment: see :func:`open_studio`.
        say: prints a line.

    Raises:
        RuntimeError: if the server ends by itself.
    """
    Workspace.open(folder, read_only=True).close()  # says what is wrong with it before anything is started
    if connection := push_to_running(folder):
        say(f"open   {connection.url}/projects/{connection.project}/data   where Label Studio runs already")
        say(f"sent   {_waiting(folder)}")
        say(f"log in {EMAIL}  password in {Path(folder).absolute() / 'label_studio' / 'password'}")
        say(f"then   al-rotate collect {shlex.quote(str(folder))}   as often as you like")
        return
    interrupted: float | None = None

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        # Two in quick succession, as a terminal and a wrapper send them, count as one.
        if interrupted is None or time.monotonic() - interrupted > _SAME_INTERRUPT_SECONDS:
            interrupted = time.monotonic()
            raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]  # SIGINT too where it is ignored, as in a shell's background
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        say("starting Label Studio; the first start of a workspace takes a minute")
        with open_studio(folder, port, environment) as (server, connection):
            say(f"open   {server.url}/projects/{connection.project}/data")
            say(f"sent   {_waiting(folder)}")
            say(f"log in {server.email}  password {server.password}")
            say(f"then   al-rotate collect {shlex.quote(str(folder))}   in another terminal, as often as you like")
            say("Ctrl-C stops the server; everything is kept")
            # Python drops what is raised in a finaliser or a weak reference's callback, so the flag counts as well.
            while server.running and interrupted is None:
                time.sleep(_POLL_SECONDS)
            if interrupted is None:
                raise RuntimeError(f"Label Studio ended by itself; its log is {server.log}")
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    say("stopped")
