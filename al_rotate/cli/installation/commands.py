"""Run pip and compilers: what they say, how long they take, and one sentence for what went wrong."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

SILENCE = 30.0  # seconds after which something is shown in any case


class SetUpError(RuntimeError):
    """The set-up cannot go on; the message is one sentence, and says what mends it."""


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


def duration(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def require_pip() -> None:
    """See that this Python has pip and lets it install.

    Raises:
        SetUpError: if not.
    """
    import sysconfig

    managed = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
    if sys.prefix == sys.base_prefix and managed:
        raise SetUpError(
            f"{sys.executable} belongs to the operating system, which forbids pip to change it: make an environment, "
            f"{sys.executable} -m venv ENV, install al_rotate there, and run ENV/bin/al-rotate install-mm"
        )
    for command in (["pip", "--version"], ["ensurepip"], ["pip", "--version"]):
        if subprocess.run([sys.executable, "-m", *command], capture_output=True).returncode == 0:
            if command[0] == "pip":
                return
    raise SetUpError(
        f"{sys.executable} has no pip: install it there (with uv: `uv pip install pip`) and run this again"
    )


def pip(what: str, *arguments: str | Path) -> None:
    """Install something by pip into this environment.

    Raises:
        SetUpError: if pip fails; it has shown why.
    """
    say(f"installing {what}")
    options = ["-q", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, *map(str, arguments)]
    if subprocess.run(command).returncode != 0:
        raise SetUpError(explain_pip(what))


def explain_pip(what: str) -> str:
    """Say what mends a pip that failed."""
    free = gigabytes_free(Path(sys.prefix))
    if free < 1:
        return f"installing {what} failed, and {free:.1f} GB are free at {sys.prefix}: make room, then run this again"
    return (
        f"installing {what} failed, see above; if the network was lost, run this again when it is back: what is "
        "finished is kept"
    )


def gigabytes_free(folder: Path) -> float:
    """Return what is free on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free / 1e9


def require_space(folder: Path, gigabytes: float, what: str) -> None:
    """Refuse to begin what would fill the disk.

    Raises:
        SetUpError: names the folder and what is free there.
    """
    free = gigabytes_free(folder)
    if free < gigabytes:
        raise SetUpError(f"{what} takes {gigabytes:g} GB, and {free:.1f} GB are free at {folder}: make room first")


def run_logged(command: Sequence[str], env: Mapping[str, str], log: Path, heard: Callable[[str | None], None]) -> int:
    """Run a command and append its output to `log`; `heard` gets each line, and None after a long silence.

    Returns:
        Its exit code.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    with (
        open(log, "a", encoding="utf-8") as out,
        subprocess.Popen(
            command, env=dict(env), text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        assert process.stdout is not None
        threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True).start()
        for line in _until_none(lines):
            if line is not None:
                out.write(line)
                out.flush()
            heard(line)
    return process.returncode


def _pass_on(source: Iterable[str], lines: queue.Queue[str | None]) -> None:
    for line in source:
        lines.put(line)
    lines.put(None)


def _until_none(lines: queue.Queue[str | None]) -> Iterator[str | None]:
    """Yield what comes, and None whenever nothing has come for some time."""
    while True:
        try:
            line = lines.get(timeout=SILENCE)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line


class Progress:
    """The progress of a compilation, from ninja's lines: objects done, and the time that is left.

    Args:
        weigh: the work behind an object's file name, in any unit.
        names: the file names, without suffix, of all objects.
    """

    def __init__(self, weigh: Callable[[str], float], names: Iterable[str]) -> None:
        self.weigh, self.left = weigh, set(names)
        self.total = sum(map(weigh, self.left))
        self.started = self.shown = time.monotonic()
        self.steps = ""

    def hear(self, line: str | None) -> None:
        """Read a line of the build, or a silence, and show the progress from time to time."""
        if line and (step := re.search(r"\[(\d+)/(\d+)\].* (\S+)\.o\b", line)):
            self.steps = f"{step[1]} of {step[2]} files compiled, "
            self.left.discard(Path(step[3]).name)
        now, is_terminal = time.monotonic(), sys.stdout.isatty()
        if now - self.shown > (1 if is_terminal else SILENCE):
            self.shown = now
            print(f"  mmcv's ops: {self.describe(now - self.started)}", end="\r" if is_terminal else "\n", flush=True)

    def describe(self, elapsed: float) -> str:
        """Write like ``3 of 8 files compiled, 1 min 10 s gone, about 2 min left``."""
        left = sum(map(self.weigh, self.left))
        text = f"{self.steps}{duration(elapsed)} gone"
        if 0 < left < self.total:
            text += f", about {max(1, round(elapsed * left / (self.total - left) / 60))} min left"
        return text


def jobs() -> int:
    """Return how many compilers run at once: ``MAX_JOBS``, or one for each core, if each has 2 GB of memory."""
    if given := os.environ.get("MAX_JOBS"):
        return int(given)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return max(1, min(cores, memory // 2))
