"""`al-rotate serve` as a person starts it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx

from al_rotate.bridge.local_server import free_port

from .label_studio import wait_until

USER, PASSWORD = "backend", "a password of the tests"


@contextmanager
def served(log, *words, **environment):
    """`al-rotate serve ...` in a process of its own, its output in a file; its address."""
    port = free_port()
    command = [sys.executable, "-m", "al_rotate", "serve", *map(str, words), "--port", str(port)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("LABEL_STUDIO")}
    variables |= {"AL_ROTATE_PASSWORD": PASSWORD} if "--user" in words else {}
    with (
        open(log, "ab") as out,
        subprocess.Popen(command, stdout=out, stderr=out, env=variables | environment) as process,
    ):
        url = f"http://127.0.0.1:{port}"

        def up():
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{url}/health", auth=(USER, PASSWORD)).status_code == 200
            except httpx.TransportError:
                return False

        try:
            wait_until(up, "the service answers")
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(120) == 0, log.read_text()
            finally:
                process.kill()


def status_page(url):
    """The text of the status page, on one line."""
    return re.sub(r"\s+", " ", httpx.get(url, auth=(USER, PASSWORD)).text)
