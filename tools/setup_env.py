"""Set up everything that `make demo` and `make test` need, once; a second run returns at once.

It creates `.venv`, builds mmcv's C++ ops into a wheel cache, and installs al_rotate editable with its extras, all in
the versions of `al_rotate/cli/constraints.txt`. Standard library only: it runs before anything else is installed.

The wheel cache lives under `${XDG_CACHE_HOME:-~/.cache}/al_rotate/wheels`, keyed by the versions of mmcv, torch and
Python, the machine and cpu/cuda. pip's own wheel cache is never used for mmcv: it does not know torch's version and
would reuse a wheel built against another torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "al_rotate-setup.stamp"
CONSTRAINTS = ROOT / "al_rotate" / "cli" / "constraints.txt"
REQUIREMENTS = ROOT / "requirements"
EXTRAS = "mm,fast,studio,geo,dev"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "al_rotate" / "wheels"
SUPPORTED = ((3, 10), (3, 14))
NEXT = "Ready. Next: `make demo` for three rounds on rendered scenes, or `. .venv/bin/activate && al-rotate --help`."


def main() -> int:
    use_supported_python()
    with open(ROOT / ".setup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, then finds the work done
        if STAMP.is_file() and STAMP.read_text() == fingerprint() and PYTHON.exists():
            return 0
        started = time.monotonic()
        create_venv()
        pip("torch (several GB) and the build tools", "-r", REQUIREMENTS / "build.txt")
        pip("mmcv from the wheel cache", "--no-deps", "--force-reinstall", mmcv_wheel())
        # No build isolation: the sdists of mmdet and mmrotate import torch while they build.
        pip("al_rotate, editable, with everything it needs", "--no-build-isolation", "-e", f".[{EXTRAS}]")
        # The headless build goes in last, so that the shared cv2/ folder needs no libGL on a server.
        pip("headless OpenCV on top", "--no-deps", "--force-reinstall", "opencv-python-headless")
        STAMP.write_text(fingerprint())
        say(f"set up in {duration(time.monotonic() - started)}. {NEXT}")
    return 0


def use_supported_python() -> None:
    """Re-run under a supported Python if this one is not and another is on the PATH."""
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return
    for minor in range(SUPPORTED[1][1], SUPPORTED[0][1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        if other and subprocess.run([other, "-c", "import venv"], capture_output=True).returncode == 0:
            os.execv(other, [other, *sys.argv])
    sys.exit(
        f"al_rotate needs Python 3.10, 3.11 or 3.12; `{sys.executable}` is {platform.python_version()} and no "
        "other was found. Install one, then run `make PYTHON=/path/to/python3.12 demo`."
    )


def fingerprint() -> str:
    """Digest everything that decides what the environment holds."""
    version = re.search(r"^__version__ = .*", (ROOT / "al_rotate" / "__init__.py").read_text(), re.MULTILINE)
    digest = hashlib.sha256(f"{ROOT} {sys.version} {platform.machine()} {version[0]}".encode())
    metadata = [ROOT / "pyproject.toml", ROOT / "setup.py", CONSTRAINTS, *sorted(REQUIREMENTS.glob("*.txt"))]
    for file in [*metadata, Path(__file__)]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def create_venv() -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if PYTHON.exists():
        probe = subprocess.run(
            [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.prefix)"],
            capture_output=True,
            text=True,
        )
        if probe.stdout.strip() == f"{version} {VENV}":
            return
    say(f"creating .venv with Python {version}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)


def mmcv_wheel() -> Path:
    """Return the mmcv wheel with compiled ops for this Python and torch, from the cache or built into it."""
    pins = CONSTRAINTS.read_text().splitlines()
    requirement = next(line for line in pins if line.startswith("onedl-mmcv=="))
    facts = subprocess.run(
        [
            PYTHON,
            "-c",
            (
                "import torch, torch.utils.cpp_extension as e;"
                "cuda = torch.cuda.is_available() and e.CUDA_HOME;"
                "print(torch.__version__, 'cuda-sm%d%d' % torch.cuda.get_device_capability() if cuda else 'cpu')"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    torch_version, device = facts
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    key = f"{requirement.replace('==', '-')}_torch-{torch_version}_{tag}_{platform.machine()}_{device}"
    folder = CACHE / key
    if not (wheels := list(folder.glob("*.whl"))):
        check_compiler()
        build_mmcv(requirement, folder, cuda=device != "cpu")
        wheels = list(folder.glob("*.whl"))
    return wheels[0]


def check_compiler() -> None:
    if not (shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")):
        sys.exit(
            "building mmcv's ops needs a C++ compiler and none was found. On Debian or Ubuntu: "
            "`apt-get install g++`; then run the same make command again."
        )
    header = subprocess.run(
        [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('include'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if not Path(header, "Python.h").exists():
        sys.exit(
            f"building mmcv's ops needs Python's headers and {header}/Python.h is not there. On Debian or "
            "Ubuntu: `apt-get install python3-dev`; then run the same make command again."
        )


def build_mmcv(requirement: str, folder: Path, cuda: bool) -> None:
    """Compile mmcv's ops against the installed torch; `folder` receives the finished wheel, or nothing."""
    jobs = os.environ.get("MAX_JOBS") or str(max(1, min(os.cpu_count() or 1, memory_gb() // 2)))
    env = dict(os.environ, MAX_JOBS=jobs, MMCV_WITH_OPS="1", FORCE_CUDA="1" if cuda else "0")
    if not cuda:
        env["CUDA_VISIBLE_DEVICES"] = ""  # mmcv would build for a GPU that it sees, even without nvcc
    for flags in ("CFLAGS", "CXXFLAGS"):
        # The interpreter's own flags carry -g: debug information doubles the build and the wheel. CXXFLAGS
        # replaces these flags, so the optimisation has to be named again.
        env[flags] = f"-DNDEBUG -fwrapv -O3 {env.get(flags, '')} -g0"
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    say(f"building {requirement}'s ops, once for this Python and torch, in {jobs} jobs: some minutes on few cores")
    say(f"the build's log: {log}")
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        # No isolation: an isolated build has no torch, succeeds without the ops, and fails at first use.
        command = [
            PYTHON,
            "-m",
            "pip",
            "wheel",
            "-v",
            "--no-cache-dir",
            "--no-build-isolation",
            "--no-deps",
            "-w",
            scratch,
            requirement,
        ]
        if run_with_progress(command, env, log) != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            sys.exit(f"{tail}\nbuilding {requirement} failed; the whole log is {log}")
        (wheel,) = Path(scratch).glob("*.whl")
        if not any(re.match(r"mmcv/_ext\..*\.so$", name) for name in zipfile.ZipFile(wheel).namelist()):
            sys.exit(f"the built {wheel.name} has no compiled ops (mmcv/_ext.*.so); the log is {log}")
        folder.mkdir(exist_ok=True)
        os.replace(wheel, folder / wheel.name)


def run_with_progress(command: list, env: dict, log: Path) -> int:
    """Run a command, keep its output in `log`, and show ninja's [done/total] meanwhile."""
    started = shown = time.monotonic()
    with (
        open(log, "w") as out,
        subprocess.Popen(
            command, env=env, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
    ):
        for line in process.stdout:
            out.write(line)
            step = re.search(r"\[(\d+)/(\d+)\]", line)
            now = time.monotonic()
            if step and now - shown > (1 if sys.stdout.isatty() else 30):
                shown = now
                text = f"  mmcv ops: {step[1]} of {step[2]} compiled, {duration(now - started)}"
                print(text, end="\r" if sys.stdout.isatty() else "\n", flush=True)
    say(f"mmcv's build took {duration(time.monotonic() - started)}")
    return process.returncode


def pip(what: str, *arguments) -> None:
    say(f"installing {what}")
    options = ["-q", "--disable-pip-version-check", "-c", CONSTRAINTS]
    command = [str(part) for part in (PYTHON, "-m", "pip", "install", *options, *arguments)]
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        sys.exit(
            f"installing {what} failed, see above. Fix the cause and run the same make command again: "
            "finished steps are kept."
        )


def memory_gb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30


def duration(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
