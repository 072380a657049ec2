"""Weights that are published somewhere: fetched once into a cache, or the error says which file to put where."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from mmengine.runner.checkpoint import get_torchvision_models
from torch.hub import download_url_to_file  # checks the hash, and needs no other client


def fetch(address: str, target: Path) -> Path:
    """Download a file unless it is there.

    Args:
        address: of the file.
        target: where to put it. Hexadecimal digits at the end of its name are the first of its SHA-256.

    Raises:
        ConnectionError: when it cannot be downloaded; says which file to put where.
    """
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(address, str(target), hash_prefix=hash_in(target) or None)
        except (OSError, RuntimeError) as error:  # RuntimeError: another hash
            raise ConnectionError(
                f"could not download {address} ({error}). Fetch that file elsewhere and put it at {target}"
            ) from error
    return target


def hash_in(file: Path) -> str:
    """Return the first digits of a file's SHA-256 that its name ends with; empty if it has none."""
    named = re.search(r"-([0-9a-f]{8})\.pth$", file.name)
    return named[1] if named else ""


def fetch_pretrained(parts: Iterable[dict[str, Any]]) -> None:
    """Fetch the pretrained weights that parts of a config start from, to where MMEngine looks for them.

    Args:
        parts: dicts of a config; those with ``type="Pretrained"`` name a file or an address.

    Raises:
        ConnectionError: when one cannot be downloaded; says which file to put where.
        FileNotFoundError: for a file that is not there.
    """
    for part in parts:
        source = part.get("checkpoint")
        if part.get("type") not in ("Pretrained", "PretrainedInit") or not isinstance(source, str):
            continue
        scheme, _, name = source.rpartition("://")
        if scheme in ("torchvision", "modelzoo"):
            source = get_torchvision_models().get(name, source)
        if source.startswith(("http://", "https://")):
            fetch(source, Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(source).path).name)
        elif not scheme and not Path(source).expanduser().is_file():
            raise FileNotFoundError(f"could not find {source}, the pretrained weights that the config starts from")
