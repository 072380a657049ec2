"""A web server on loopback that serves what a test puts on it."""

import io
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image


def encode_image(format="PNG", size=(40, 30)):
    """The bytes of a picture."""
    pixels = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


PNG = encode_image()


class ImageHost:
    """Serves `pages`, path -> (status, headers, body), and records what was requested.

    A body may be a function, which writes it to the connection by itself.
    """

    def __init__(self):
        host = self
        self.pages, self.requests, self.posts = {}, [], []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.requests.append((self.path, dict(self.headers)))
                status, headers, body = host.pages.get(self.path, (404, {}, b"nothing"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers and not callable(body):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if callable(body):
                    body(self.wfile)
                else:
                    self.wfile.write(body)

            def do_POST(self):
                host.posts.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                status, _, body = host.pages[self.path]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.name = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.name}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@contextmanager
def image_host():
    """Run a host while the block lasts."""
    host = ImageHost()
    try:
        yield host
    finally:
        host.server.shutdown()
        host.server.server_close()
