"""Options of the ML backend service."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .fetch import FetchPolicy
from .fetch.hosts import is_loopback

PORT = 8003
URL_VARIABLE, TOKEN_VARIABLE = "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"  # of the environment
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True)
class ServeOptions:
    """What the service serves, and to whom.

    Args:
        workspace: an al_rotate workspace; its newest weights are served, and a training ends its open round.
        config, checkpoint: instead of a workspace, as for :class:`~al_rotate.Detector`. Trainings start from the newest
            checkpoint.
        device: as for Detector; "auto" takes the workspace's, where there is one.
        cfg_options: dotted key -> value; with a workspace, of its trainings only.
        work_dir: without a workspace: the folder of trainings and their queue; ``al_rotate_backend`` by default.
        host: address to listen on; any but loopback needs `user` and `password`.
        port: to listen on; the one that Label Studio is given.
        user, password: for basic auth.
        score_thr: the least score of a box that is shown; None: a workspace's own (``al-rotate connect --shown``) or
            what is quicker to correct than to draw, as learnt from its answers; without a workspace 0.3.
        document_root, allow_hosts: where images may come from; see :class:`FetchPolicy`.
        train_every: fine-tune after this many new annotations; 0: only on "Start Training".
        label_studio: its address; by default the workspace's, that in LABEL_STUDIO_URL, or what Label Studio says of
            itself in /setup, if that is on this machine. A token from the environment or a file goes only to an
            address that was given: never to one of /setup.
    """

    workspace: str | Path | None = None
    config: str | Path | None = None
    checkpoint: str | Path | None = None
    device: str = "auto"
    cfg_options: Mapping[str, Any] | None = None
    work_dir: str | Path | None = None
    host: str = "127.0.0.1"
    port: int = PORT
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    score_thr: float | None = None
    document_root: str | Path | None = None
    allow_hosts: Sequence[str] = ()
    train_every: int = 0
    label_studio: str | None = None

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            ValueError: names them.
        """
        if (self.workspace is None) == (self.config is None):
            raise ValueError("expected either a workspace, or a config with a checkpoint")
        if bool(self.user) != bool(self.password):
            raise ValueError("expected user and password together: --user, and the password in AL_ROTATE_PASSWORD")
        if not is_loopback(self.host) and not self.user:
            raise ValueError(
                f"expected user and password to serve on {self.host}: others can reach it, and would have it fetch "
                "images and train; or serve on 127.0.0.1"
            )

    @property
    def credentials(self) -> str | None:
        """What a basic Authorization header must hold; None lets everybody in."""
        return base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode() if self.user else None

    @property
    def host_names(self) -> frozenset[str] | None:
        """The names that a Host header may have, in lower case and without port; None: any."""
        return _LOOPBACK | {self.host.lower()} if is_loopback(self.host) else None

    @property
    def fetch_policy(self) -> FetchPolicy:
        """Where images may come from."""
        return FetchPolicy(tuple(self.allow_hosts), self.document_root)


def token_of_environment() -> str | None:
    """Read Label Studio's token from the environment."""
    return os.environ.get(TOKEN_VARIABLE, "").strip() or None
