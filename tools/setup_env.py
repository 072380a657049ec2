"""Set up everything that `make demo` and `make test` need, once; a second run returns at once.

It creates `.venv`, lets `al-rotate install-mm` put PyTorch, mmcv and MMRotate there, and installs al_rotate editable
with its extras, all in the versions of `al_rotate/cli/constraints.txt`. Standard library only, and no syntax that an
old Python does not know: it runs before anything else, and looks for a Python that serves.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "al_rotate-setup.stamp"
CONSTRAINTS = ROOT / "al_rotate" / "cli" / "constraints.txt"
EXTRAS = "fast,studio,geo,docs,dev"
SUPPORTED = ((3, 10), (3, 14))
NEXT = "Ready. Next: `make demo` for three rounds on rendered scenes, or `. .venv/bin/activate && al-rotate --help`."


def main():
    use_supported_python()
    try:
        set_up()
    except OSError as error:  # a full disk, or a clone that may not be written
        sys.exit(f"{error}: mend that, and run the same make command again; finished steps are kept")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same make command goes on from here")


def set_up():
    with open(str(ROOT / ".setup.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits, then finds the work done
        if STAMP.is_file() and STAMP.read_text() == fingerprint() and PYTHON.exists():
            return
        started = time.monotonic()
        create_venv()
        run("al_rotate", "install-mm")
        say("installing al_rotate, editable, with everything it needs")
        pip = ["pip", "install", "-q", "--disable-pip-version-check", "-c", str(CONSTRAINTS)]
        # No build isolation: setuptools is there already.
        run(*pip, "--no-build-isolation", "-e", f".[{EXTRAS}]")
        STAMP.write_text(fingerprint())
        say(f"set up in {duration(time.monotonic() - started)}. {NEXT}")


def use_supported_python():
    """Re-run under a supported Python if this one is not and another is on the PATH."""
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return
    for minor in range(SUPPORTED[1][1], SUPPORTED[0][1] - 1, -1):
        other = shutil.which(f"python3.{minor}")
        # Run it: a version manager leaves commands on the PATH for disabled Pythons.
        if other and subprocess.call([other, "-c", "import venv, ensurepip"], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other, *sys.argv])
    sys.exit(
        f"al_rotate needs Python 3.10, 3.11, 3.12, 3.13 or 3.14; {sys.executable} is {platform.python_version()}, and "
        "no other is on the PATH: install one, then run `make PYTHON=/path/to/python3.13 demo`"
    )


def fingerprint():
    """Digest everything that decides what the environment holds."""
    version = re.search(r"^__version__ = .*", (ROOT / "al_rotate" / "__init__.py").read_text(), re.MULTILINE)
    compiler = bool(shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++"))
    facts = [ROOT, sys.version, platform.machine(), version.group(), compiler, os.environ.get("AL_ROTATE_OPS")]
    digest = hashlib.sha256(" ".join(map(str, facts)).encode())
    installation = sorted((ROOT / "al_rotate" / "cli" / "installation").glob("*.py"))
    for file in [ROOT / "pyproject.toml", ROOT / "setup.py", CONSTRAINTS, *installation, Path(__file__)]:
        if file.name not in ("doctor.py", "facts.py"):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def create_venv():
    version = "{}.{}".format(*sys.version_info)
    if PYTHON.exists():
        code = "import sys, pip; print('%d.%d' % sys.version_info[:2], sys.prefix)"
        probe = subprocess.run([str(PYTHON), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if os.fsdecode(probe.stdout).strip() == f"{version} {VENV}":
            return
    say(f"creating .venv with Python {version}")
    if subprocess.call([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
        sys.exit(
            f"{sys.executable} cannot create .venv, see above; if it lacks venv, on Debian or Ubuntu: apt-get install "
            "python3-venv, then run the same make command again"
        )


def run(*module):
    """Run a module in .venv, with the working tree's al_rotate; end if it fails."""
    code = subprocess.call([str(PYTHON), "-m", *module], cwd=str(ROOT))
    if code != 0:
        say("not finished: mend what is said above, and run the same make command again; finished steps are kept")
        sys.exit(code)


def duration(seconds):
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def say(text):
    print(f"[setup] {text}", flush=True)


if __name__ == "__main__":
    main()
