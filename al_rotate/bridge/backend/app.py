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
and "Start Training". **Annotation events come without it**: they are refused until the project's webhook (Settings,
Webhooks) gets the header ``Authorization: Basic ...`` too. Nothing in a request names a file or a checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shlex
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import anyio.to_thread
import jinja2
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse

from .fetch.hosts import is_loopback, origin
from .models import ModelSource, WorkspaceModels, open_source
from .options import TOKEN_VARIABLE, URL_VARIABLE, ServeOptions, token_of_environment
from .redaction import Redactor
from .service import Rejected, Service

__all__ = ["Rejected", "ServeOptions", "Service", "create_app", "serve"]

MAX_BODY = 32 << 20  # bytes: a thousand tasks with fifty boxes each
MAX_VALUES = 1_000_000  # commas and brackets: as many, which is parsed in a fraction of a second
BODY_SECONDS = 60  # that a caller may take to send one
STOP_SECONDS = 2  # for callers that are still sending when the service ends
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
    source = open_source(options)
    options, token = _find_label_studio(options, source)
    service = Service(source, options, token, redactor)
    with service.journal.logged(), service:
        print(instructions(options, service.version), flush=True)
        server = _Server(service, options)
        for name in ("uvicorn", "uvicorn.access", "uvicorn.error", "httpx"):
            logger = logging.getLogger(name)
            logger.addFilter(redactor)
            for handler in logger.handlers:
                handler.addFilter(redactor)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn ends by it, and then we stop in order
        with suppress(KeyboardInterrupt):
            server.run()


class _Server(uvicorn.Server):
    """Interrupts the service's work when it is to end: it would wait for the answers to all requests."""

    def __init__(self, service: Service, options: ServeOptions) -> None:
        app, seconds = create_app(service), STOP_SECONDS
        super().__init__(
            uvicorn.Config(app, options.host, options.port, server_header=False, timeout_graceful_shutdown=seconds)
        )
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.service.interrupt()
        super().handle_exit(sig, frame)


def _find_label_studio(options: ServeOptions, source: ModelSource) -> tuple[ServeOptions, str | None]:
    """Fill in Label Studio's address; return the token that the operator gave for it, if any."""
    given = os.environ.get(URL_VARIABLE, "").strip() or None
    url, root, token = options.label_studio, options.document_root, token_of_environment()
    if isinstance(source, WorkspaceModels) and (connection := source.connection) is not None:
        root = root or connection.document_root
        url = url or connection.url
        if connection.token_file and Path(connection.token_file).is_file() and origin(url) == origin(connection.url):
            return replace(options, label_studio=url, document_root=root), connection.token()  # for this address alone
    if given and url and token and origin(given) != origin(url):
        raise ValueError(
            f"expected {URL_VARIABLE}, whose token is in {TOKEN_VARIABLE}, to be {url}, got {given}: set both for the "
            "server to use"
        )
    return replace(options, label_studio=url or given, document_root=root), token


def instructions(options: ServeOptions, version: str) -> str:
    """Say what to paste where in Label Studio."""
    host = socket.gethostname() if options.host in ("0.0.0.0", "::") else options.host
    url = f"http://[{host}]:{options.port}" if ":" in host else f"http://{host}:{options.port}"
    studio = (options.label_studio or "Label Studio").rstrip("/")
    lines = [
        f"al_rotate serves {version} at {url} (in a browser: what it does, and what it left out and why).",
        f"In {studio}, project, Settings, Model, Connect Model:",
        "  Name: MMRotate",
        f"  Backend URL: {url}",
    ]
    if options.user:
        lines += [
            "  Select authentication method: Basic Authentication",
            f"  Basic auth user: {options.user}",
            "  Basic auth pass: what AL_ROTATE_PASSWORD holds here",
        ]
    else:
        lines.append("  Select authentication method: No Authentication")
    lines.append("  Validate and Save")
    if options.user and options.train_every:
        lines += [
            f"In Settings, Webhooks, {url}/webhook, which Label Studio makes then: Headers, +, so that new annotations",
            "count: Authorization, and beside it what this prints here:",
            f'  echo "Basic $(printf %s {shlex.quote(options.user)}:"$AL_ROTATE_PASSWORD" | base64 | tr -d "\\n")"',
        ]
    if is_loopback(options.host):
        lines.append(
            "If it says 'URL resolves to a reserved network address', start it with ML_BLOCK_LOCAL_IP=false and "
            "SSRF_PROTECTION_ENABLED=false. In a container it needs --host 0.0.0.0 --user NAME here."
        )
    return "\n".join(lines)


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
        return {"model_version": await anyio.to_thread.run_sync(service.setup, await _read_json(request))}

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
        service.journal.note(request.url.path, error)
        return JSONResponse({"detail": service.journal.line(error)}, error.status)

    app.add_middleware(_Guard, service=service, options=options or service.options)
    return app


class _Guard:
    """Refuses callers without permission and bodies that are too large before anything reads them; reports failures."""

    def __init__(self, app: Any, service: Service, options: ServeOptions) -> None:
        self.app, self.service, self.host_names = app, service, options.host_names
        self.expected = f"Basic {options.credentials}".encode() if options.credentials else None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_caller(scope["path"], {name.lower(): value for name, value in scope["headers"]})
            body = await _read_body(receive)
        except Rejected as error:
            self.service.journal.note(scope["path"], error)
            headers = {"WWW-Authenticate": 'Basic realm="al_rotate"'} if error.status == 401 else None
            await JSONResponse({"detail": self.service.journal.line(error)}, error.status, headers)(
                scope, receive, send
            )
            return
        if body is None:
            return  # the caller has gone
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(parts, None) or await receive()

        try:
            await self.app(scope, replay, send)
        except Exception as error:  # answers are made before they are begun to be sent
            self.service.journal.fail(scope["path"], error)
            await JSONResponse({"detail": "this failed; the status page says why"}, 500)(scope, receive, send)

    def _check_caller(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if self.host_names is not None and name not in self.host_names:
            # A web page whose name was pointed at this machine.
            raise Rejected(400, f"expected a Host of this machine, got {host[:100]!r}: is --host needed?")
        if self.expected and not secrets.compare_digest(headers.get(b"authorization", b""), self.expected):
            hint = "; give the project's webhook the header Authorization" if path == "/webhook" else ""
            raise Rejected(401, f"expected user and password{hint}")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MAX_BODY:
            raise _too_large()


async def _read_body(receive: Any) -> bytes | None:
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > MAX_BODY:
                raise _too_large()
            if not message.get("more_body"):
                return bytes(body)
    raise Rejected(408, f"expected a body within {BODY_SECONDS} s, got {len(body)} bytes of it")


async def _read_json(request: Request) -> dict[str, Any]:
    """Read a body, which must say that it is JSON: else any web page could post to a service on this machine."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Rejected(415, f"expected application/json, got {kind[:50] or 'nothing'}")
    return await anyio.to_thread.run_sync(_parse, await request.body())


def _parse(content: bytes) -> dict[str, Any]:
    """Parse a body with a reasonable number of values: Python does nothing else, such as /health, while it parses."""
    if sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Rejected(413, f"expected at most {MAX_VALUES} values in a body, got more: send fewer tasks at a time")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise Rejected(400, "expected JSON") from None
    if not isinstance(body, dict):
        raise Rejected(422, f"expected a JSON object, got {type(body).__name__}")
    return body


def _too_large() -> Rejected:
    return Rejected(413, f"expected a body of at most {MAX_BODY} bytes: send fewer tasks at a time")
