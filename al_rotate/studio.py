"""One command from a workspace to the browser: a Label Studio server of one's own, a project, the next query in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .bridge import annotator, local_server
from .loop import ActiveLoop
from .workspace import Workspace

PORT = 8080


@contextmanager
def open_studio(
    folder: str | Path, port: int | None = None, environment: str | Path | None = None
) -> Iterator[tuple[local_server.LocalServer, annotator.Connection]]:
    """A running server with the workspace's open query in it; it stops when the block ends.

    The workspace is connected to it from then on: ``al-rotate collect`` takes the corrections over while it runs. Its
    database is kept in ``folder/label_studio``; when the server starts again, on whatever port, it goes on.

    Args:
        folder: a workspace.
        port: None takes 8080, or a free one where that is taken.
        environment: where Label Studio is or will be installed; see :func:`~al_rotate.bridge.local_server.install`.

    Yields:
        The server, and the connection to the project.
    """
    folder = Path(folder).absolute()
    with Workspace.open(folder, read_only=True) as workspace:
        pool = workspace.paths(i for status in workspace.counts() for i in workspace.ids(status))
        classes = workspace.classes
    images = Path(os.path.commonpath([path.parent for path in pool.values()]))
    environment = local_server.install(environment)
    chosen = port or (PORT if local_server.is_free(PORT) else None)
    with local_server.LocalServer(folder / "label_studio", images.parent, environment, chosen, backends=True) as server:
        connection = annotator.connect(
            folder,
            server.url,
            server.token,
            classes,
            images="local" if images.parent != images else "upload",
            document_root=str(images.parent),
            token_file=str(server.token_file),
        )
        with ActiveLoop(folder) as loop:
            loop.query()
        yield server, connection


def run(
    folder: str | Path,
    port: int | None = None,
    environment: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Open a studio, say where it is, and keep it until Ctrl-C, SIGTERM or the server's own end.

    Raises:
        RuntimeError: when the server ends by itself.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Ctrl-C too: a shell starts what runs in the background with it ignored.
    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        say("starting Label Studio; the first start of a workspace takes a minute")
        with open_studio(folder, port, environment) as (server, connection):
            say(f"open   {server.url}/projects/{connection.project}/data")
            say(f"log in {server.email}  password {server.password}")
            say(f"then   al-rotate collect {folder}   in another terminal, as often as you like")
            say("Ctrl-C stops the server; everything is kept")
            server.wait()
            raise RuntimeError(f"Label Studio ended by itself; its log is {server.log}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
