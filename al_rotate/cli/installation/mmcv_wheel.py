"""mmcv as a wheel: compiled once for each Python and torch, kept in a cache.

pip's own cache is not used, because it does not know torch's version and would reuse ops built for another one.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import Progress, SetUpError, duration, gigabytes_free, jobs, run_logged, say
from .pins import pin

VARIABLE = "AL_ROTATE_OPS"
COMPILED_OPS = re.compile(r"mmcv/_ext\..*\.so")
# These define the same names, or macros, as others do.
APART = {
    "pytorch": {"pybind"},
    "cpu": {"bezier_align", "roi_align", "roi_align_rotated", "rotated_feature_align", "psamask"},
}
_WEIGHTS = {"pybind": 58, "all_cpu": 37, "all_pytorch": 25}  # CPU seconds, measured with g++ 14; most others take 18
_NO_OPS = "from setuptools import find_packages, setup\n\nsetup(packages=find_packages(), zip_safe=False)\n"


def cache() -> Path:
    """Return the folder of the wheels, ``${XDG_CACHE_HOME:-~/.cache}/al_rotate/wheels``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "al_rotate" / "wheels"


def obtain(ops: str, device: str, rebuild: bool = False) -> Path:
    """Return the wheel of mmcv for this Python and torch, from the cache or built into it.

    Args:
        ops: ``compiled``, or ``python`` for an mmcv without ops, whose place :mod:`al_rotate.detection` fills.
        device: ``cpu``, or ``cuda-sm90`` for one architecture of GPUs.
        rebuild: build in any case.

    Raises:
        SetUpError: if it cannot be built.
    """
    requirement = pin("onedl-mmcv")
    key = requirement.replace("==", "-") + "_python"
    if ops == "compiled":
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        key = f"{requirement.replace('==', '-')}_torch-{torch_version()}_{tag}_{platform.machine()}_{device}"
    folder = cache() / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob("build-*"):  # by builds that were killed
            if time.time() - left.stat().st_mtime > 24 * 3600:
                shutil.rmtree(left)
        for wheel in folder.glob("*.whl"):
            if not rebuild and is_sound(wheel, ops):
                return wheel
            say(f"the wheel {wheel} is {'replaced' if rebuild else 'damaged: it is built anew'}")
            wheel.unlink()
        return _build(requirement, folder, ops, cuda=device != "cpu")
    except OSError as error:
        if gigabytes_free(cache()) < 1:
            raise SetUpError(f"the disk of {cache()} is full: make room and run this again") from None
        raise SetUpError(
            f"{cache()} cannot be used ({error}): set XDG_CACHE_HOME to a folder that can be written; run this again"
        ) from None


def torch_version() -> str:
    code = "import torch; print(torch.__version__)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def is_sound(wheel: Path, ops: str) -> bool:
    """Whether a wheel is whole, and has the compiled ops that it should have."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            has_ops = any(map(COMPILED_OPS.fullmatch, archive.namelist()))
            return archive.testzip() is None and has_ops == (ops == "compiled")
    except (zipfile.BadZipFile, EOFError):
        return False


def missing_tools(headers: Path | None = None) -> str | None:
    """Return what is missing to compile, with the command that installs it; None if nothing is.

    Args:
        headers: the folder of Python.h; by default this Python's.
    """
    compiler = os.environ.get("CXX", "c++")
    if not (shutil.which(compiler) or shutil.which("g++")):
        return "mmcv's ops need a C++ compiler, and there is none: on Debian or Ubuntu, apt-get install g++ python3-dev"
    header = (headers or Path(sysconfig.get_path("include"))) / "Python.h"
    if not header.exists():
        install = "on Debian or Ubuntu, apt-get install python3-dev"
        return f"mmcv's ops need Python's headers, and there is no {header}: {install}"
    return None


def unify(source: Path) -> list[str]:
    """Let most sources of mmcv's CPU ops be compiled as two files: parsing torch's headers is nearly all of the work.

    Args:
        source: the unpacked source distribution; setup.py compiles every ``*.cpp`` of two folders.

    Returns:
        The names, without suffix, of the files that are compiled.
    """
    folder = source / "mmcv" / "ops" / "csrc" / "pytorch"
    names = []
    for part in (folder, folder / "cpu"):
        apart = sorted(file.stem for file in part.glob("*.cpp") if file.stem in APART[part.name])
        together = sorted(file for file in part.glob("*.cpp") if file.stem not in apart)
        if not together:
            raise FileNotFoundError(f"no sources in {part}")
        for file in together:
            file.rename(file.with_name(f"{file.name}.inc"))
        lines = [f'#include "{file.name}.inc"\n' for file in together]
        (part / f"all_{part.name}.cpp").write_text("".join(lines))
        names += [f"all_{part.name}", *apart]
    return names


def weigh(name: str) -> float:
    """Return about how many seconds a file of :func:`unify` takes to compile."""
    return _WEIGHTS.get(name, 18)


def _build(requirement: str, folder: Path, ops: str, cuda: bool) -> Path:
    """Build a wheel into `folder`; after a kill it is empty or holds a whole wheel."""
    log = folder.parent / f"{folder.name}.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="build-") as scratch:
        archive = _download(requirement, Path(scratch), log)
        built = None
        if ops == "python":
            with _unpacked(archive, Path(scratch)) as source:
                (source / "setup.py").write_text(_NO_OPS)
                built = _wheel(source, ops, log, {}, [])
        else:
            say(f"compiling the ops of {requirement}, once for this Python and torch, {jobs()} files at a time")
            if not cuda:
                with _unpacked(archive, Path(scratch)) as source:
                    built = _wheel(source, ops, log, _environment(cuda), unify(source))
                if built is None:
                    say(f"the short way failed (see {log}): compiling file by file, some 20 minutes on two cores")
            if built is None:
                with _unpacked(archive, Path(scratch)) as source:
                    built = _wheel(source, ops, log, _environment(cuda), [])
        if built is None:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
            raise SetUpError(
                f"{tail}\nbuilding {requirement} failed, the whole log is {log}: mend what it names, or set "
                f"{VARIABLE}=python to do without compiled ops, and run this again"
            )
        say(f"mmcv's wheel took {duration(time.monotonic() - started)}")
        folder.mkdir(exist_ok=True)
        os.replace(built, folder / built.name)
    return folder / built.name


def _download(requirement: str, scratch: Path, log: Path) -> Path:
    # Without isolation: pip asks the source for its metadata, and would install torch to answer.
    options = ["--no-deps", "--no-binary", "onedl-mmcv", "--no-build-isolation", "-d", str(scratch)]
    command = [sys.executable, "-m", "pip", "download", *options, requirement]
    if run_logged(command, os.environ, log, lambda line: None) != 0:
        raise SetUpError(f"{requirement} could not be downloaded (see {log}): is there a network? run this again")
    return next(scratch.glob("*.tar.gz"))


@contextmanager
def _unpacked(archive: Path, scratch: Path) -> Iterator[Path]:
    """Unpack a source distribution for a while."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    shutil.unpack_archive(archive, folder)
    yield next(path for path in folder.iterdir() if path.is_dir())
    shutil.rmtree(folder)


def _wheel(source: Path, ops: str, log: Path, env: dict[str, str], names: list[str]) -> Path | None:
    """Build one wheel from unpacked sources; None if that fails or gives another one than was wanted."""
    out = Path(tempfile.mkdtemp(dir=source.parents[1]))
    options = ["-v", "--no-cache-dir", "--no-build-isolation", "--no-deps", "-w", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    code = run_logged(command, {**os.environ, **env}, log, Progress(weigh, names).hear)
    wheels = [wheel for wheel in out.glob("*.whl") if is_sound(wheel, ops)]
    return wheels[0] if code == 0 and wheels else None


def _environment(cuda: bool) -> dict[str, str]:
    # torch looks for ninja on the PATH, and without it compiles one file after the other.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    env = {"PATH": path, "MAX_JOBS": str(jobs()), "FORCE_CUDA": "1" if cuda else "0"}
    if not cuda:
        env["CUDA_VISIBLE_DEVICES"] = ""  # mmcv would build for a GPU that it sees, even without nvcc
    for flags in ("CFLAGS", "CXXFLAGS"):
        # The interpreter's own flags carry -g: debug information doubles the work and the wheel. CXXFLAGS replaces
        # these flags, so the optimisation has to be named again.
        env[flags] = f"-DNDEBUG -fwrapv -O3 {os.environ.get(flags, '')} -g0"
    return env
