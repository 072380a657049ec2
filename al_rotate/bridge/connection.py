"""How a workspace remembers which Label Studio project answers it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..data.columns import as_classes
from ..storage.files import atomic_write
from .client.addresses import addresses
from .client.api import OURS, LabelStudioError, NotAllowed
from .client.label_studio import LabelStudio
from .client.labels import follow_classes
from .conversion.options import ReadOptions

FILE = "label_studio.json"  # in a workspace


@dataclass(frozen=True)
class Connection:
    """Which project answers a loop, and how; everything but the token.

    Args:
        url: of the server.
        project: its id.
        images: ``local``, ``upload``, or a template; see :func:`~al_rotate.bridge.client.addresses`.
        document_root: for ``local``.
        token_file: a file with the token; None takes the environment's LABEL_STUDIO_API_KEY.
        shown: the least score of a predicted box that is sent; None: the loop decides which are worth it.
        policy, polygons, rename, classes: how answers are read; see
            :class:`~al_rotate.bridge.conversion.options.ReadOptions`. The classes are the workspace's, in their order,
            which need not be that of the project's labels. If `rename` has several labels of one class, boxes are sent
            under the last.
    """

    url: str
    project: int
    images: str = "local"
    document_root: str | None = None
    token_file: str | None = None
    shown: float | None = None
    policy: str = "latest"
    polygons: bool = True
    rename: dict[str, str] | None = None
    classes: Sequence[str] | None = None

    def read_options(self, sizes: Mapping[str, tuple[int, int]] | None = None) -> ReadOptions:
        """Return how the project's annotations are read; `sizes` as in :class:`ReadOptions`."""
        return ReadOptions(self.classes, self.policy, self.polygons, self.rename, sizes)

    def project_labels(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the names that the project has for these classes."""
        labels = {name: label for label, name in (self.rename or {}).items()}
        return tuple(labels.get(name, name) for name in classes)

    def with_classes(self, studio: LabelStudio, classes: Sequence[str], now: Sequence[int]) -> Connection:
        """Bring the project's labels up to changed classes, and return the connection that reads them.

        Args:
            studio: signed in to the server.
            classes: of the workspace, now.
            now: of each of this connection's classes, its number among these.

        Raises:
            LabelStudioError: if the server cannot be reached, or does not take the new labels.
        """
        before, rename = self.classes or (), self.rename or {}
        rename = follow_classes(studio.api, self.project, classes, before, now, rename)
        return replace(self, classes=list(classes), rename=rename or None)

    def token(self) -> str:
        """Read the token from its file or the environment.

        Raises:
            NotAllowed: if there is none.
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
        """Remember this connection in a workspace's folder."""
        with atomic_write(Path(workspace) / FILE) as file:
            json.dump(asdict(self), file, indent=1)

    @classmethod
    def load(cls, workspace: str | Path) -> Connection | None:
        """Load the connection of a workspace; None if it has none.

        Raises:
            ValueError: for a file that is damaged; names it.
        """
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
    """Find or make the project for a workspace, and remember it there.

    A project of the default name that holds tasks of another workspace is refused: two workspaces called `work` would
    get each other's images. Connected to its project again, the workspace keeps what it knows of the labels there,
    unless `rename` is given.

    Args:
        workspace: its folder.
        url: of the server.
        token: not stored; give ``token_file`` or set LABEL_STUDIO_API_KEY for later.
        classes: the workspace's.
        title: of the project; the folder's name by default.
        options: further fields of :class:`Connection`.

    Raises:
        ValueError: for options that cannot work, text in place of the classes, or a project that is another
            workspace's.
        LabelStudioError: if no Label Studio answers there, or it refuses.
    """
    folder = Path(workspace).absolute()
    connection = Connection(url, 0, classes=list(as_classes(classes) or ()), **options)  # type: ignore[arg-type]
    addresses(connection.images, connection.document_root)  # refuses what cannot work before anything is made
    name = (title or folder.name)[:50]
    name = name if len(name) >= 3 else f"{name} boxes"
    studio = LabelStudio.connect(url, token)
    before = Connection.load(folder)
    if before is not None and connection.rename is None and _title(studio, before) == name:
        # Classes that were changed since are followed by the next query.
        connection = replace(connection, rename=before.rename, classes=before.classes or connection.classes)
    project = studio.open_project(name, connection.project_labels(connection.classes or ()))
    if title is None and (before is None or before.project != project) and studio.api.count(project, OURS):
        raise ValueError(
            f"project {project} of {url} is called {name!r} too and holds another workspace's tasks: say "
            f"--project {name!r} to share it all the same, or another name"
        )
    connection = replace(connection, project=project)
    connection.save(folder)
    return connection


def _title(studio: LabelStudio, connection: Connection) -> str | None:
    """The title of a connection's project; None if this server has none."""
    if connection.url.rstrip("/") != studio.api.url:
        return None
    try:
        return str(studio.api.get(f"api/projects/{connection.project}")["title"])
    except LabelStudioError:
        return None
