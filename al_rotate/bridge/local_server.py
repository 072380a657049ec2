"""A local Label Studio server: installed in an environment of its own, started on loopback, stopped cleanly.

For one person on one machine, and for tests. A team runs Label Studio as its documentation advises and connects to
that.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx

from ..storage.locks import FileLock, Locked
from .signals import uninterrupted

VERSION = "1.23.2"
EMAIL = "annotator@localhost.org"
PYTHONS = ((3, 10), (3, 13))  # the first and the last that Label Studio's requirements have wheels for
_START_SECONDS = 600  # the first start migrates the database: 40 s on a quiet machine
_STOP_SECONDS = 15
_KILL_SECONDS = 5


def default_environment() -> Path:
    """Return where :func:`install` puts Label Studio by default."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "al_rotate" / f"label-studio-{VERSION}"


def find_python(version: tuple[int, int] = sys.version_info[:2]) -> str:
    """Find a Python for Label Studio: this one, or the newest on the PATH that serves.

    Args:
        version: of this Python.

    Raises:
        RuntimeError: if there is none.
    """
    (major, first), (_, last) = PYTHONS
    if PYTHONS[0] <= version <= PYTHONS[1]:
        return sys.executable
    for minor in range(last, first - 1, -1):
        python = shutil.which(f"python{major}.{minor}")
        # Run it: a version manager leaves commands on the PATH for disabled Pythons.
        if python and subprocess.run([python, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            return python
    raise RuntimeError(
        f"Label Studio runs on Python {major}.{first} to {major}.{last}, this is {version[0]}.{version[1]}, and none "
        f"of those is on the PATH: install python{major}.{last}, or run Label Studio elsewhere (al-rotate connect)"
    )


def install(environment: str | Path | None = None) -> Path:
    """Install Label Studio in a virtual environment of its own, since its requirements conflict with other packages'.

    Takes about two minutes and half a gigabyte once. A second call returns at once; after a kill it starts afresh.

    Args:
        environment: the folder; None takes :func:`default_environment`.

    Returns:
        The environment's folder.

    Raises:
        RuntimeError: if pip fails, with its output; if there is no Python that Label Studio runs on.
    """
    folder = Path(environment or default_environment()).absolute()
    stamp = folder / "al_rotate-installed"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Of two calls at once, the second waits and then finds it done.
    with FileLock(folder.parent / f"{folder.name}.lock").acquire(wait=True, note=""):
        if stamp.exists() and stamp.read_text() == VERSION:
            return folder
        note = f"installing Label Studio {VERSION} into {folder}, once: half a gigabyte, about two minutes"
        print(note, file=sys.stderr, flush=True)
        pip = (folder / "bin" / "python", "-m", "pip")
        for command in (
            [find_python(), "-m", "venv", "--clear", folder],
            [*pip, "install", "-q", "--disable-pip-version-check", f"label-studio=={VERSION}"],
        ):
            if subprocess.run([str(part) for part in command], env=_own_packages()).returncode != 0:
                raise RuntimeError(
                    f"setting up Label Studio in {folder} failed, see above; fix the cause and run this again"
                )
        stamp.write_text(VERSION)
    return folder


class LocalServer:
    """One server, whose SQLite database, log and credentials stay in `folder` from start to start.

    Use it as a context manager, or call ``start()`` and ``stop()``.

    Args:
        folder: made if necessary, readable by its owner alone.
        document_root: images below a sub-folder of it can be shown, once a project has a storage for them.
        environment: of :func:`install`; None takes the default one.
        port: None finds a free one. A port in use is refused.
        backends: let projects call services on this machine (ML backends, webhooks), which Label Studio refuses by
            default. Only for a server that nobody else can reach.
        settings: further environment variables for Label Studio.

    Attributes:
        url: like ``http://127.0.0.1:8080``.
        email, password: to log in with.
        token: for the API (a legacy token).
        log: the server's output.
    """

    def __init__(
        self,
        folder: str | Path,
        document_root: str | Path,
        environment: str | Path | None = None,
        port: int | None = None,
        backends: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.document_root = Path(folder).absolute(), Path(document_root).absolute()
        self.environment = Path(environment or default_environment()).absolute()
        self.port, self.backends, self.settings = port or free_port(), backends, dict(settings or {})
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.url, self.email, self.log = f"http://127.0.0.1:{self.port}", EMAIL, self.folder / "server.log"
        self.token_file = self.folder / "token"
        self.password, self.token = _secret(self.folder / "password", 12), _secret(self.token_file, 20)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> LocalServer:
        """Start the server, and wait until it answers.

        Raises:
            FileNotFoundError: if Label Studio is not installed there.
            RuntimeError: if the port is taken, another server works on the folder, or the server ends; shows the end
                of its log.
            TimeoutError: if it does not answer in time.
        """
        program = self.environment / "bin" / "label-studio"
        if not program.exists():
            raise FileNotFoundError(f"expected Label Studio at {program}; al_rotate.bridge.local_server.install() it")
        if not is_free(self.port):
            raise RuntimeError(f"port {self.port} is taken: stop what uses it, or choose another port")
        command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        try:
            with uninterrupted():
                self._spawn([*command, "--enable-legacy-api-token"])
            deadline = time.monotonic() + _START_SECONDS
            while not self._answers(deadline):
                pass
        except BaseException:
            self.stop()
            raise
        return self

    def _spawn(self, command: list[str]) -> None:
        try:
            lock = FileLock(self.folder / "lock").acquire(note="")
        except Locked as error:
            raise RuntimeError(
                f"a Label Studio server works on {self.folder} already, left by a process that was killed or is "
                f"running still: stop that, or end the server: kill {error.holder}"
            ) from None
        with lock, open(self.log, "ab") as log:
            # In a process group of its own: Ctrl-C reaches us alone, and we stop the server in order.
            self._process = subprocess.Popen(
                command,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.fileno()],  # so that the lock is held as long as the server lives
            )
            lock.write(str(self._process.pid))

    def stop(self) -> None:
        """Stop the server and everything it started; a second call does nothing."""
        self._end((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _KILL_SECONDS))

    def kill(self) -> None:
        """Kill the server, as a power cut would."""
        self._end((signal.SIGKILL, _KILL_SECONDS))

    def _end(self, *signals: tuple[signal.Signals, float]) -> None:
        """Send each signal, and wait up to so many seconds before the next one."""
        with uninterrupted():
            if self._process is None:
                return
            for number, patience in signals:
                # The process has ended; macOS reports a permission error until somebody waits for it.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
                    break
            self._process = None

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        with uninterrupted():
            return self._process is not None and self._process.poll() is None

    def has_project(self, number: int) -> bool:
        """Whether there is a project with this id."""
        headers = {"Authorization": f"Token {self.token}"}
        return httpx.get(f"{self.url}/api/projects/{number}/", headers=headers, timeout=60).status_code == 200

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _variables(self) -> dict[str, str]:
        inherited = {name: value for name, value in _own_packages().items() if not name.startswith("LABEL_STUDIO_")}
        # Secrets go through the environment: everybody on the machine can read a command line.
        ours = {
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "data"),
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.document_root),
            "LABEL_STUDIO_USERNAME": self.email,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            "COLLECT_ANALYTICS": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "LATEST_VERSION_CHECK": "false",
        }
        # Either one alone is not enough: Label Studio would leave a half-made backend behind.
        local_calls = {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"} if self.backends else {}
        return {**inherited, **ours, **local_calls, **self.settings}

    @uninterrupted()
    def _answers(self, deadline: float) -> bool:
        """Whether the server answers; waits a moment if not."""
        if not self.running:
            raise RuntimeError(f"Label Studio ended while it started; the end of {self.log}:\n{self._tail()}")
        with suppress(httpx.HTTPError):
            if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                return True
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"Label Studio did not answer in {_START_SECONDS} s; the end of {self.log}:\n{self._tail()}"
            )
        time.sleep(0.3)
        return False

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def _own_packages() -> dict[str, str]:
    """Return our variables without those that would give Label Studio's Python packages from elsewhere."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _secret(file: Path, n_bytes: int) -> str:
    """Read a secret, or make it, in a file that only its owner can read."""
    if not file.exists():
        scratch = file.with_name(f".{file.name}.tmp")
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(secrets.token_hex(n_bytes))
        os.replace(scratch, file)
    return file.read_text()


def free_port() -> int:
    """Find a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    print(f"Label Studio {VERSION}: {install(sys.argv[1] if len(sys.argv) > 1 else None)}")
