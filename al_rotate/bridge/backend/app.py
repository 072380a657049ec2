"""The ML backend service: predictions and trainings for Label Studio, over the HTTP that it speaks (1.23).

====================  ====================================================================================
GET  /health          answers at once, whatever the model does
POST /setup           answers at once, with the ``model_version``
POST /predict         all tasks of the request in one call of the detector, one answer per task, in order
POST /webhook         answers at once; START_TRAINING and annotation events queue a training
GET  /versions        all model versions
GET  /                the status page
====================  ====================================================================================

Who may call: on loopback everybody on this machine (but no web page: bodies must be JSON, and the Host header must
name this machine); on any other address whoever has the password. Label Studio sends it with health, setup, predict
and "Start training". **Annotation events come without it**: they are refused until the project's webhook (Settings,
Webhooks) gets the header ``Authorization: Basic ...`` too. Nothing in a request names a file or a checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio.to_thread
import jinja2
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse

from .models import WorkspaceModels, open_source
from .options import URL_VARIABLE, ServeOptions
from .redaction import Redactor
from .service import Rejected, Service, token_of_environment

__all__ = ["Rejected", "ServeOptions", "Service", "create_app", "serve"]

MAX_BODY = 32 << 20  # bytes: a thousand tasks with fifty boxes each
_ASGI = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def serve(workspace: str | Path | None = None, options: ServeOptions | None = None, **changes: Any) -> None:
    """Serve until Ctrl-C or SIGTERM. The token of Label Studio comes from LABEL_STUDIO_API_KEY.

    Args:
        workspace: as in :class:`ServeOptions`.
        options: what to serve, and to whom; None takes the defaults of :class:`ServeOptions`.
        changes: fields of :class:`ServeOptions` that differ from `options`.

    Raises:
        ValueError: for options that do not go together.
        FileNotFoundError: for a workspace, config or checkpoint that does not exist.
        Busy: if another service works there.
    """
    if workspace is not None:
        changes["workspace"] = workspace
    options = replace(options or ServeOptions(), **changes)
    options.check()
    redactor = Redactor(options.password, options.credentials)
    token = token_of_environment()
    source = open_source(options)
    if isinstance(source, WorkspaceModels) and (connection := source.connection) is not None:
        options = replace(
            options,
            label_studio=options.label_studio or connection.url,
            document_root=options.document_root or connection.document_root,
        )
        if connection.token_file and Path(connection.token_file).is_file():
            token = connection.token()
    options = replace(options, label_studio=options.label_studio or os.environ.get(URL_VARIABLE) or None)
    with Service(source, options, token, redactor) as service:
        server = uvicorn.Server(uvicorn.Config(create_app(service), options.host, options.port, server_header=False))
        for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "httpx"):
            logger = logging.getLogger(name)
            logger.addFilter(redactor)
            for handler in logger.handlers:
                handler.addFilter(redactor)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn ends by it, and then we stop in order
        with suppress(KeyboardInterrupt):
            server.run()


def create_app(service: Service, options: ServeOptions | None = None) -> FastAPI:
    """Make the ASGI application of a service.

    Args:
        service: started, and stopped by the caller.
        options: who may call: `user`, `password` and `host`; None takes the service's.
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
        return {"model_version": service.setup(await _read_json(request))}

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        body = await _read_json(request)
        results = await anyio.to_thread.run_sync(service.predict, body)
        return JSONResponse({"results": results, "model_version": service.version})

    @app.post("/webhook")
    async def webhook(request: Request) -> dict[str, Any]:
        return await anyio.to_thread.run_sync(service.event, await _read_json(request))

    @app.get("/versions")
    async def versions() -> dict[str, list[str]]:
        return {"versions": await anyio.to_thread.run_sync(service.source.versions)}

    @app.get("/", response_class=HTMLResponse)
    async def status() -> str:
        return page.render(await anyio.to_thread.run_sync(service.status))

    @app.exception_handler(Rejected)
    async def rejected(request: Request, error: Rejected) -> JSONResponse:
        return JSONResponse({"detail": service.redactor.redact(str(error))}, error.status)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        service.fail(f"{request.url.path}: {type(error).__name__}: {error}")
        return JSONResponse({"detail": "this failed; the status page says why"}, 500)

    app.add_middleware(_Guard, service=service, options=options or service.options)
    return app


class _Guard:
    """Refuses callers without permission, and bodies that are too large, before anything reads them."""

    def __init__(self, app: Any, service: Service, options: ServeOptions) -> None:
        self.app, self.service, self.host_names = app, service, options.host_names
        self.expected = f"Basic {options.credentials}".encode() if options.credentials else None

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
                return  # the caller has gone
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
        if self.host_names is not None and name not in self.host_names:
            # A web page whose name was pointed at this machine.
            return JSONResponse({"detail": f"expected a Host of this machine, got {host[:100]!r}"}, 400)
        if self.expected and not secrets.compare_digest(headers.get(b"authorization", b""), self.expected):
            if path == "/webhook":
                self.service.note(
                    "webhook", "an event came without the log-in: give the project's webhook the header Authorization"
                )
            return JSONResponse(
                {"detail": "expected user and password"}, 401, {"WWW-Authenticate": 'Basic realm="al_rotate"'}
            )
        length = headers.get(b"content-length", b"0")
        return _too_large() if length.isdigit() and int(length) > MAX_BODY else None


async def _read_json(request: Request) -> dict[str, Any]:
    """Read a body, which must say that it is JSON: else any web page could post to a service on this machine."""
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
