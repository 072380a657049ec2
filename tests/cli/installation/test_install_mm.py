"""Where the set-up stumbles, it ends with one sentence that mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from al_rotate.cli.installation.commands import Progress, SetUpError, pip, require_space
from al_rotate.cli.installation.install_mm import choose_ops, install

ROOT = Path(__file__).resolve().parents[3]


def install_mm(python, cwd, **variables):
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [str(python), "-m", "al_rotate", "install-mm"]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def test_an_environment_without_pip_and_without_network(tmp_path):
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    done = install_mm(python, tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    if "GB are free" not in said:  # the disk is looked at first
        assert said.startswith(
            "installing PyTorch (several GB), build tools failed, see above; if the network was lost, "
        )
    assert "Traceback" not in done.stderr


def test_a_python_of_the_operating_system(tmp_path):
    python = Path("/usr/bin/python3")
    look = "import sysconfig; print(sysconfig.get_path('stdlib'), sysconfig.get_python_version())"
    if not python.exists():
        pytest.skip("the system has no Python")
    answer = subprocess.run([python, "-c", look], capture_output=True, text=True)
    folder, _, version = answer.stdout.strip().partition(" ")
    if not Path(folder, "EXTERNALLY-MANAGED").exists() or version not in ("3.10", "3.11", "3.12", "3.13", "3.14"):
        pytest.skip("the system's Python lets pip install, or is not supported")
    done = install_mm(python, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("/usr/bin/python3 belongs to the operating system, which forbids pip to change it: ")


def test_a_full_disk(tmp_path):
    require_space(tmp_path, 0, "Nothing")
    with pytest.raises(SetUpError, match=rf"PyTorch takes 1e\+09 GB, and .* GB are free at {tmp_path}/a/b: make room"):
        require_space(tmp_path / "a" / "b", 1e9, "PyTorch")


def test_a_lost_network(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(SetUpError, match=r"installing x failed, see above; if the network was lost, run this"):
        pip("x", "al-rotate-does-not-exist")


def test_the_variable(monkeypatch):
    monkeypatch.setenv("AL_ROTATE_OPS", "python")
    assert choose_ops() == ("python", "cpu")
    monkeypatch.setenv("AL_ROTATE_OPS", "pytorch")
    with pytest.raises(SetUpError, match="expected AL_ROTATE_OPS to be python, compiled or empty, got 'pytorch'"):
        choose_ops()


@pytest.mark.mm
def test_without_a_compiler_the_ops_are_in_pytorch(monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    monkeypatch.delenv("AL_ROTATE_OPS", raising=False)
    if Path(sysconfig.get_path("include"), "Python.h").exists() and not torch.cuda.is_available():
        monkeypatch.setenv("CXX", sys.executable)
        assert choose_ops() == ("compiled", "cpu")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "none")
    assert choose_ops() == ("python", "cpu")
    said = capsys.readouterr().out
    assert "there is none: on Debian or Ubuntu, apt-get install g++ python3-dev. Until then the ops are" in said
    monkeypatch.setenv("AL_ROTATE_OPS", "compiled")
    with pytest.raises(SetUpError, match=r"there is none: .* apt-get install g\+\+ python3-dev; then run this again"):
        choose_ops()


@pytest.mark.mm
def test_a_gpu_without_nvcc(monkeypatch):
    extension = pytest.importorskip("torch.utils.cpp_extension")
    if extension.CUDA_HOME or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("there is a CUDA toolkit, or nothing can be compiled")
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "9.0")
    monkeypatch.setenv("AL_ROTATE_OPS", "compiled")
    with pytest.raises(
        SetUpError, match=r"need nvcc, and there is none: install the CUDA toolkit of torch's version; then"
    ):
        choose_ops()


def test_progress_tells_the_time_that_is_left():
    weights = {"large": 60.0, "small": 20.0, "other": 20.0}
    progress = Progress(weights.__getitem__, weights)
    assert progress.describe(5) == "0 min 05 s gone"
    progress.hear("[1/3] c++ -MMD -MF /build/small.o.d -O3 -c /src/small.cpp -o /build/small.o\n")
    assert progress.describe(60) == "1 of 3 files compiled, 1 min 00 s gone, about 4 min left"
    progress.hear(None)
    progress.hear("[2/3] c++ -c /src/large.cpp -o /build/large.o\n")
    assert progress.describe(160) == "2 of 3 files compiled, 2 min 40 s gone, about 1 min left"
    progress.hear("[3/3] c++ -c /src/other.cpp -o /build/other.o\n")
    assert progress.describe(200) == "3 of 3 files compiled, 3 min 20 s gone"


def test_another_python(monkeypatch):
    monkeypatch.setattr("al_rotate.cli.installation.install_mm.PYTHONS", ((3, 98), (3, 99)))
    with pytest.raises(
        SetUpError, match=r"expected Python 3\.10, 3\.11, 3\.12, 3\.13 or 3\.14, got 3\.\d+\.\d+: make an"
    ):
        install()


def test_a_python_without_pip(tmp_path):
    for name in ("pip", "ensurepip"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(1)\n")
    done = install_mm(sys.executable, tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    said = f"{sys.executable} has no pip: install it there (with uv: `uv pip install pip`) and run this again\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_a_broken_torch(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("AL_ROTATE_OPS", raising=False)
    with pytest.raises(
        SetUpError, match=r"cannot be imported \(ImportError: libcudart.*\): al-rotate doctor says what"
    ):
        choose_ops()


def test_a_disk_that_fills_up_meanwhile(tmp_path):
    """On a disk of its own of 300 kB: pip's failure, and the wheels' cache."""
    code = f"""
import sys
from pathlib import Path
from al_rotate.cli.installation.commands import SetUpError, explain_pip
from al_rotate.cli.installation.mmcv_wheel import obtain
try:
    Path({str(tmp_path)!r}, "filler").write_bytes(bytes(400_000))
except OSError:
    pass
sys.prefix = {str(tmp_path)!r}
print(explain_pip("PyTorch"))
try:
    obtain("python", "cpu")
except SetUpError as error:
    print(error)
"""
    command = f'mount -t tmpfs -o size=300k tmpfs "{tmp_path}" && exec "{sys.executable}" -c "$CODE"'
    env = {**os.environ, "CODE": code, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("no file system may be mounted here")
    done = subprocess.run([*unshare, command], env=env, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        f"installing PyTorch failed, and 0.0 GB are free at {tmp_path}: make room, then run this again",
        f"the disk of {tmp_path}/cache/al_rotate/wheels is full: make room and run this again",
    ], done.stderr
