"""The ML backend service: predictions and trainings for Label Studio, over the HTTP that it speaks (1.23).

====================  ====================================================================================
GET  /health          at once, whatever the model does
POST /setup           at once; answers with the ``model_version``
POST /predict         all tasks of the request in one call of the detector, one answer each, in order
POST /webhook         at once; START_TRAINING and annotation events ask for a training in another process
GET  /versions        all model versions there are
GET  /                a page that says how it stands
====================  ====================================================================================

Who may call: on loopback everybody on this machine (but no web page: bodies must be JSON, and the Host header must
name this machine); on any other address whoever has the password. Label Studio sends it with health, setup, predict
and "Start training". **Annotation events come without it**: they are refused until the project's webhook (Settings,
Webhooks) is given the header ``Authorization: Basic ...`` too. Nothing in a request names a file or a checkpoint.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets as random
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
import jinja2
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse

from .hosts import is_loopback
from .models import CheckpointModels, ModelSource, WorkspaceModels
from .redaction import Redactor
from .service import Rejected, Service, token_of_environment
from .trainer import ADDRESS

__all__ = ["Rejected", "Service", "create_app", "serve"]

PORT = 8003
MAX_BODY = 32 << 20  # bytes: a thousand tasks with fifty boxes each
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ASGI = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def serve(
    workspace: str | Path | None = None,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    cfg_options: Mapping[str, Any] | None = None,
    work_dir: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    user: str | None = None,
    password: str | None = None,
    score_thr: float = 0.3,
    document_root: str | Path | None = None,
    allow_hosts: Iterable[str] = (),
    train_every: int = 0,
    label_studio: str | None = None,
) -> None:
    """Serve until Ctrl-C or SIGTERM. The token of Label Studio comes from LABEL_STUDIO_API_KEY.

    Args:
        workspace: an al_rotate workspace; its last round's weights are served, and a training ends its open round.
        config, checkpoint: instead of a workspace, as for Detector.
        device: as for Detector.
        cfg_options: dotted key -> value; with a workspace, of its trainings only.
        work_dir: without a workspace: where trainings and their queue go; ``al_rotate_backend`` by default.
        host: another one than loopback needs `user` and `password`.
        port: as Label Studio is told.
        user, password: basic auth.
        score_thr: the least score of a box that is shown.
        document_root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT, where this machine sees the same files.
        allow_hosts: ``host`` or ``host:port`` that images may be fetched from, beside Label Studio.
        train_every: fine-tune after so many new annotations; 0: only by "Start training".
        label_studio: its address; LABEL_STUDIO_URL, the workspace's, or what it says of itself by default.

    Raises:
        ValueError: for arguments that do not go together.
        FileNotFoundError: for a workspace, config or checkpoint that is not there.
        Busy: when another service works there.
    """
    if (workspace is None) == (config is None):
        raise ValueError("expected either a workspace, or a config with a checkpoint")
    if bool(user) != bool(password):
        raise ValueError("expected user and password together: --user, and the password in AL_ROTATE_PASSWORD")
    local = is_loopback(host)
    if not local and not user:
        raise ValueError(
            f"expected user and password to serve on {host}: others can reach it, and would have it fetch images and "
            "train; or serve on 127.0.0.1"
        )
    hidden = Redactor(password, user and _credentials(user, password or ""))
    token = token_of_environment()
    home: ModelSource
    if workspace is not None:
        home = WorkspaceModels(workspace, device, cfg_options)
        if (found := home.connection) is not None:
            label_studio = label_studio or found.url
            document_root = document_root or found.document_root
            if found.token_file and Path(found.token_file).is_file():
                token = found.token()
    else:
        assert config is not None
        home = CheckpointModels(config, checkpoint, device, cfg_options, work_dir)
    studio = label_studio or os.environ.get(ADDRESS) or None
    with Service(home, score_thr, train_every, studio, token, allow_hosts, document_root, secrets=hidden) as service:
        app = create_app(service, user, password, hosts=_LOOPBACK | {host} if local else None)
        settings = uvicorn.Config(app, host, port, server_header=False)
        for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "httpx"):
            logger = logging.getLogger(name)
            logger.addFilter(hidden)
            for handler in logger.handlers:
                handler.addFilter(hidden)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn ends by it, and then we in good order
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run()


def create_app(
    service: Service, user: str | None = None, password: str | None = None, hosts: Iterable[str] | None = None
) -> FastAPI:
    """The service as an ASGI application.

    Args:
        service: started, and stopped by the caller.
        user, password: basic auth; None lets everybody in.
        hosts: which names the Host header may have, without port; None: any.
    """
    app = FastAPI(title="al_rotate", docs_url=None, redoc_url=None, openapi_url=None)
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("page.html.j2")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "al_rotate", "model_version": service.version}

    @app.post("/setup")
    async def setup(request: Request) -> dict[str, str]:
        return {"model_version": service.setup(await _json(request))}

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        body = await _json(request)
        results = await anyio.to_thread.run_sync(service.predict, body)
        return JSONResponse({"results": results, "model_version": service.version})

    @app.post("/webhook")
    async def webhook(request: Request) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(service.event, await _json(request))

    @app.get("/versions")
    async def versions() -> dict[str, list[str]]:
        return {"versions": await anyio.to_thread.run_sync(service.home.versions)}

    @app.get("/", response_class=HTMLResponse)
    async def status() -> str:
        return page.render(await anyio.to_thread.run_sync(service.status))

    @app.exception_handler(Rejected)
    async def rejected(request: Request, error: Rejected) -> JSONResponse:
        return JSONResponse({"detail": service.secrets.hide(str(error))}, error.status)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        service.fail(f"{request.url.path}: {type(error).__name__}: {error}")
        return JSONResponse({"detail": "this failed; the status page says why"}, 500)

    app.add_middleware(_Guard, service=service, user=user, password=password, hosts=hosts)
    return app


class _Guard:
    """Turns away who may not call and what is too large, before anything looks at it."""

    def __init__(
        self, app: Any, service: Service, user: str | None, password: str | None, hosts: Iterable[str] | None
    ) -> None:
        self.app, self.service = app, service
        self.expected = f"Basic {_credentials(user, password or '')}".encode() if user else None
        self.hosts = None if hosts is None else {name.lower() for name in hosts}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(scope["path"], headers)
        body = b""
        while refusal is None:
            message = await receive()
            if message["type"] != "http.request":
                return  # gone
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                refusal = _too_large()
            elif not message.get("more_body"):
                break
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(parts, None) or await receive()

        await self.app(scope, replay, send)

    def _refusal(self, path: str, headers: Mapping[bytes, bytes]) -> JSONResponse | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self.hosts is not None and name not in self.hosts:
            # A web page whose name was pointed at this machine.
            return JSONResponse({"detail": f"expected a Host of this machine, got {host[:100]!r}"}, 400)
        if self.expected and not random.compare_digest(headers.get(b"authorization", b""), self.expected):
            if path == "/webhook":
                self.service.note(
                    "webhook", "an event came without the log-in: give the project's webhook the header Authorization"
                )
            return JSONResponse(
                {"detail": "expected user and password"}, 401, {"WWW-Authenticate": 'Basic realm="al_rotate"'}
            )
        length = headers.get(b"content-length", b"0")
        return _too_large() if length.isdigit() and int(length) > MAX_BODY else None


async def _json(request: Request) -> dict[str, Any]:
    """The body, which must say that it is JSON: else any web page could post to a service on this machine."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Rejected(415, f"expected application/json, got {kind[:50] or 'nothing'}")
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Rejected(400, "expected JSON") from None
    if not isinstance(body, dict):
        raise Rejected(422, f"expected a JSON object, got {type(body).__name__}")
    return body


def _too_large() -> JSONResponse:
    return JSONResponse({"detail": f"expected a body of at most {MAX_BODY} bytes: send fewer tasks at a time"}, 413)


def _credentials(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
