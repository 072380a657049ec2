"""TODO bridge.connection."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..data.instances import SHOWN_SCORE
from ..storage.files import atomic_write
from .client.addresses import addresses
from .client.api import OURS, NotAllowed
from .client.label_studio import LabelStudio

FILE = "label_studio.json"  # in a workspace


@dataclass(frozen=True)
class Connection:
    """Which project answers a loop; all but the token.

    Args:
        url: of the server.
        project: its id.
        images: ``local``, ``upload``, or a template; see :func:`~al_rotate.bridge.client.addresses`.
        document_root: for ``local``.
        token_file: where the token is; None takes the environment's LABEL_STUDIO_API_KEY.
        shown: the least score of a predicted box that is sent.
        policy: which of several annotators counts; see :func:`~al_rotate.bridge.annotations.read`.
        polygons: take polygons as the rectangle of least area around them.
        rename: label in the project -> class, where they differ.
        classes: the workspace's, in their order, which need not be that of the project's labels.
    """

    url: str
    project: int
    images: str = "local"
    document_root: str | None = None
    token_file: str | None = None
    shown: float = SHOWN_SCORE
    policy: str = "latest"
    polygons: bool = False
    rename: dict[str, str] | None = None
    classes: Sequence[str] | None = None

    def token(self) -> str:
        """The token, from its file or the environment.

        Raises:
            NotAllowed: when there is none.
        """
        if self.token_file and Path(self.token_file).is_file():
            return Path(self.token_file).read_text(encoding="utf-8").strip()
        if token := os.environ.get("LABEL_STUDIO_API_KEY", "").strip():
            return token
        where = f"{self.token_file} or " if self.token_file else ""
        raise NotAllowed(
            f"expected a token for {self.url} in {where}the environment's LABEL_STUDIO_API_KEY: copy one from Label "
            "Studio's Account & Settings"
        )

    def save(self, workspace: str | Path) -> None:
        """Remember this in a workspace's folder."""
        with atomic_write(Path(workspace) / FILE) as file:
            json.dump(asdict(self), file, indent=1)

    @classmethod
    def load(cls, workspace: str | Path) -> Connection | None:
        """What a workspace remembers; None where it is not connected."""
        path = Path(workspace) / FILE
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected a connection in {path}, got: {error}; al-rotate connect writes it") from error


def connect(
    workspace: str | Path,
    url: str,
    token: str,
    classes: Sequence[str],
    title: str | None = None,
    **options: object,
) -> Connection:
    """Make or find the project for a workspace, and remember it there.

    A project of the default name that holds tasks of somebody else's is refused: two workspaces called `work` would ask
    about each other's images.

    Args:
        workspace: its folder.
        url: of the server.
        token: not kept; give ``token_file`` or set LABEL_STUDIO_API_KEY for later.
        classes: the workspace's.
        title: of the project; the folder's name by default.
        options: of :class:`Connection`.
    """
    folder = Path(workspace).absolute()
    connection = Connection(url, 0, classes=list(classes), **options)  # type: ignore[arg-type]
    addresses(connection.images, connection.document_root)  # refuses what cannot work, now
    called = {name: label for label, name in (connection.rename or {}).items()}
    labels = [called.get(name, name) for name in classes]
    name = (title or folder.name)[:50]
    studio = LabelStudio.connect(url, token)
    project = studio.open_project(name if len(name) >= 3 else f"{name} boxes", labels)
    before = Connection.load(folder)
    if title is None and (before is None or before.project != project) and studio.api.count(project, OURS):
        raise ValueError(
            f"project {project} of {url} is called {name!r} too and holds another workspace's tasks: say "
            f"--project {name!r} to share it all the same, or another name"
        )
    connection = replace(connection, project=project)
    connection.save(folder)
    return connection
