"""Where Label Studio gets an image from: files that it serves itself, uploads, or addresses elsewhere."""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from ...data.images import rendition
from .api import Api, LabelStudioError


class Addresses(Protocol):
    """How a project's images are addressed."""

    def prepare(self, api: Api, project: int, files: Mapping[str, Path]) -> dict[str, str]:
        """Make the images available and return image id -> the address for its task; repeating it is safe."""


def addresses(images: str, document_root: str | Path | None = None, renditions: str | Path | None = None) -> Addresses:
    """Choose how a project's images are addressed.

    Args:
        images: ``local`` (files that the server reads itself), ``upload`` (copies in the server), or a template of an
            ``https://`` or ``s3://`` address with ``{image_id}``, ``{name}`` or ``{suffix}`` in it.
        document_root: for ``local``, the server's LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
        renditions: a folder for PNGs of the images that browsers do not show, such as TIFFs. They are uploaded,
            wherever the other images are: no server or store has them. None takes all images as they are.

    Raises:
        ValueError: for anything else.
    """
    if renditions is not None:
        return WithRenditions(addresses(images, document_root), renditions)
    if images == "local":
        if document_root is None:
            raise ValueError("expected document_root with images='local': the server's LOCAL_FILES_DOCUMENT_ROOT")
        return LocalFiles(document_root)
    if images == "upload":
        return Uploads()
    return Template(images)


class LocalFiles:
    """Files below the server's document root, served through a storage of the project, made if necessary."""

    def __init__(self, document_root: str | Path) -> None:
        self.root = Path(os.path.abspath(document_root))  # as the images are: without ".."

    def prepare(self, api: Api, project: int, files: Mapping[str, Path]) -> dict[str, str]:
        """See :class:`Addresses`.

        Raises:
            ValueError: for a file outside the document root, or directly in it.
        """
        paths = {image_id: Path(os.path.abspath(path)) for image_id, path in files.items()}
        for image_id, path in paths.items():
            if not path.is_relative_to(self.root) or path.parent == self.root:
                raise ValueError(
                    f"expected images in a folder below the document root {self.root}, got {path} of image "
                    f"{image_id!r}: start Label Studio with another LOCAL_FILES_DOCUMENT_ROOT, or use images='upload'"
                )
        common = Path(os.path.commonpath([path.parent for path in paths.values()])) if paths else self.root
        tops = {self.root / path.relative_to(self.root).parts[0] for path in paths.values()}
        for folder in [common] if common != self.root else sorted(tops):
            self._add_storage(api, project, folder)
        return {
            image_id: f"/data/local-files/?d={quote(path.relative_to(self.root).as_posix())}"
            for image_id, path in paths.items()
        }

    def _add_storage(self, api: Api, project: int, folder: Path) -> None:
        storages = api.get("api/storages/localfiles", project=project)
        if any(folder.is_relative_to(storage["path"]) for storage in storages if storage.get("path")):
            return
        storage = {"project": project, "path": str(folder), "title": "al_rotate", "use_blob_urls": True}
        try:
            api.once("POST", "api/storages/localfiles", storage)
        except LabelStudioError as error:
            raise LabelStudioError(
                f"{error}\nThe server must be started with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
                f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={self.root}, and see {folder} at that same path"
            ) from error


class Uploads:
    """Copies of the files in the server's own data folder, for a server that does not see our disk."""

    def prepare(self, api: Api, project: int, files: Mapping[str, Path]) -> dict[str, str]:
        uploaded = {}
        for upload in api.get(f"api/projects/{project}/file-uploads", all="true") if files else ():
            address = upload["file"] if upload["file"].startswith("/") else f"/data/{upload['file']}"
            # The server puts a prefix of its own before our name, which holds a digest of the image id.
            uploaded[Path(upload["file"]).name.partition("-")[2]] = address
        prepared = {}
        for image_id, path in files.items():
            name = f"{hashlib.sha256(image_id.encode()).hexdigest()[:16]}{path.suffix.lower()}"
            if name not in uploaded:
                sent = api.upload(f"api/projects/{project}/import", name, path.read_bytes(), commit_to_project="false")
                (number,) = sent["file_upload_ids"]
                uploaded[name] = f"/data/{api.get(f'api/import/file-upload/{number}')['file']}"
            prepared[image_id] = uploaded[name]
        return prepared


class Template:
    """Addresses derived from image id or file name; the server or the browser fetches them itself."""

    def __init__(self, pattern: str) -> None:
        names = {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}
        if "://" not in pattern or not names & {"image_id", "name"} or not names <= {"image_id", "name", "suffix"}:
            raise ValueError(
                "expected images as 'local', 'upload', or a template like 'https://host/tiles/{image_id}{suffix}' or "
                f"'s3://bucket/{{name}}', got {pattern!r}"
            )
        self.pattern = pattern

    def prepare(self, api: Api, project: int, files: Mapping[str, Path]) -> dict[str, str]:
        # Object stores take keys as they are; only http addresses are quoted.
        encode = quote if self.pattern.startswith(("http://", "https://")) else str
        return {
            image_id: self.pattern.format(image_id=encode(image_id), name=encode(path.name), suffix=path.suffix)
            for image_id, path in files.items()
        }


class WithRenditions:
    """Addresses of images, but uploads of PNGs in place of those that browsers do not show.

    Args:
        others: of the images that browsers show.
        folder: of the PNGs, see :func:`al_rotate.images.rendition`.
    """

    def __init__(self, others: Addresses, folder: str | Path) -> None:
        self.others, self.folder = others, Path(folder)

    def prepare(self, api: Api, project: int, files: Mapping[str, Path]) -> dict[str, str]:
        """See :class:`Addresses`.

        Raises:
            UnreadableImage: for a file that cannot be decoded.
        """
        shown = {image_id: rendition(path, self.folder) for image_id, path in files.items()}
        made = {image_id: path for image_id, path in shown.items() if path != files[image_id]}
        rest = {image_id: path for image_id, path in files.items() if image_id not in made}
        return {**self.others.prepare(api, project, rest), **Uploads().prepare(api, project, made)}
