"""Where images may come from, and what one may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What one image may cost.

    Args:
        bytes: of its file.
        pixels: width times height.
        seconds: from looking up the host's name to the last byte, redirects included.
    """

    bytes: int = 100 << 20
    pixels: int = 150_000_000
    seconds: float = 30.0


@dataclass(frozen=True)
class FetchPolicy:
    """Where images may come from, besides Label Studio itself.

    Args:
        hosts: ``host`` or ``host:port`` of image hosts. Private addresses count only with their port.
        document_root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT, if this machine sees the same files.
        limits: of one image.
    """

    hosts: Sequence[str] = ()
    document_root: str | Path | None = None
    limits: Limits = Limits()

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON, for the process that trains."""
        root = self.document_root and str(self.document_root)
        return {"hosts": list(self.hosts), "document_root": root, "limits": asdict(self.limits)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> FetchPolicy:
        """Convert from what :meth:`to_json` gave; missing keys take their defaults."""
        limits = Limits(**(content.get("limits") or {}))
        return cls(tuple(content.get("hosts") or ()), content.get("document_root"), limits)
