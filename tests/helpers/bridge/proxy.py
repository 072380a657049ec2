"""A proxy in front of a server, with faults on request."""

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path match.

    Args:
        kind: "refuse" answers `status` without asking the server; "lie" forwards the request and answers `status`;
            "hang" forwards it and answers after `seconds`; "cut" forwards it and closes the connection; "late" answers
            `status` at once and forwards the request `seconds` later; "edit" changes the server's body by `edit`.
        after: how many matching requests to let pass first.
    """

    kind: str
    method: str = "POST"
    path: str = "/import"
    status: int = 500
    times: int = 1
    seconds: float = 5
    after: int = 0
    edit: object = None
    headers: dict = field(default_factory=dict)


class Proxy:
    """Forwards requests to `target`, applies `faults`, and records requests in `seen`."""

    def __init__(self, target):
        self.target, self.faults, self.seen = target, [], []
        handler = type("Handler", (_Handler,), {"proxy": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._lock = threading.Lock()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next_fault(self, method, path):
        """Record a request, and use up a fault that matches it."""
        with self._lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.method == method and fault.path in path:
                    if fault.after > 0:
                        fault.after -= 1
                        return None
                    if fault.times > 0:
                        fault.times -= 1
                        return fault
        return None

    def sent(self, method, path):
        """Count the requests of this kind."""
        return sum(m == method and path in p for m, p in self.seen)


@contextmanager
def proxy_to(url):
    """Run a proxy while the block lasts."""
    proxy = Proxy(url)
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _forward(self):
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        fault = self.proxy.next_fault(self.command, self.path.partition("?")[0])
        if fault and fault.kind == "refuse":
            return self._answer(fault.status, b'{"detail": "a fault of the test"}', fault.headers)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length", "connection")}
        if fault and fault.kind == "late":
            arguments = {"content": content, "headers": headers, "timeout": 300}
            url = self.proxy.target + self.path
            threading.Timer(fault.seconds, httpx.request, (self.command, url), arguments).start()
            return self._answer(fault.status, b'{"detail": "a fault of the test, before it is done"}', fault.headers)
        answer = httpx.request(
            self.command, self.proxy.target + self.path, content=content, headers=headers, timeout=300
        )
        if fault and fault.kind == "lie":
            return self._answer(fault.status, b'{"detail": "a fault of the test, after it was done"}', fault.headers)
        if fault and fault.kind == "cut":
            self.close_connection = True
            return self.connection.close()
        if fault and fault.kind == "hang":
            time.sleep(fault.seconds)
        body = fault.edit(answer.content) if fault and fault.kind == "edit" else answer.content
        kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
        return self._answer(answer.status_code, body, kind)

    def _answer(self, status, body, headers):
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(0 if status == 204 else len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client timed out

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _forward

    def log_message(self, *arguments):
        pass
