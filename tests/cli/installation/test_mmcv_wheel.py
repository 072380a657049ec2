"""The cache of mmcv's wheels, and real builds of a small package with mmcv's layout."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from al_rotate.cli.installation.commands import SetUpError
from al_rotate.cli.installation.mmcv_wheel import is_sound, missing_tools, obtain, unify
from al_rotate.cli.installation.pins import VERSIONS

VERSION = VERSIONS["onedl-mmcv"]
SETUP = """
import glob, shutil
print("ninja is", shutil.which("ninja"))
from setuptools import Extension, find_packages, setup
sources = glob.glob("mmcv/ops/csrc/pytorch/*.cpp") + glob.glob("mmcv/ops/csrc/pytorch/cpu/*.cpp")
setup(packages=find_packages(), ext_modules=[Extension("mmcv._ext", sources, language="c++")], zip_safe=False)
"""
BIND = """
#include <Python.h>
int first(); int second();
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_ext", nullptr, -1, nullptr};
PyMODINIT_FUNC PyInit__ext() { return first() + second() == 3 ? PyModule_Create(&module) : nullptr; }
"""
SOURCES = {
    "pybind.cpp": BIND,
    "first.cpp": "static int own() { return 1; }\nint first() { return own(); }\n",
    "cpu/second.cpp": "static int own() { return 2; }\nint second() { return own(); }\n",
    "cpu/psamask.cpp": "#define min(a, b) 0\n",
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "al_rotate" / "wheels"


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """pip finds nothing but the source distributions that the returned function makes."""
    links = tmp_path / "links"
    links.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))

    def offer(sources):
        root = tmp_path / f"onedl_mmcv-{VERSION}"
        shutil.rmtree(root, ignore_errors=True)
        project = f'[project]\nname = "onedl-mmcv"\nversion = "{VERSION}"\n'
        files = {"pyproject.toml": project, "setup.py": SETUP, "mmcv/__init__.py": ""}
        for name, text in {
            **files,
            **{f"mmcv/ops/csrc/pytorch/{name}": text for name, text in sources.items()},
        }.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        with tarfile.open(links / f"{root.name}.tar.gz", "w:gz") as archive:
            archive.add(root, root.name)

    return offer


def wheel_with(file, *names):
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content " * 50)
    return file


def test_sound_wheels(tmp_path):
    compiled = wheel_with(tmp_path / "a.whl", "mmcv/__init__.py", "mmcv/_ext.cpython-311-x86_64-linux-gnu.so")
    plain = wheel_with(tmp_path / "b.whl", "mmcv/__init__.py")
    assert (is_sound(compiled, "compiled"), is_sound(compiled, "python")) == (True, False)
    assert (is_sound(plain, "compiled"), is_sound(plain, "python")) == (False, True)
    whole = compiled.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b"content", b"contend", 1)):
        compiled.write_bytes(damaged)
        assert not is_sound(compiled, "compiled")


def test_a_cached_wheel_is_taken_as_it_is_and_what_a_kill_left_goes_after_a_day(cache):
    wheel = wheel_with(cache / f"onedl-mmcv-{VERSION}_python" / "mmcv.whl", "mmcv/__init__.py")
    old, new = cache / "build-old", cache / "build-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (1e9, 1e9))
    assert obtain("python", "cpu") == wheel
    assert [*cache.glob("build-*")] == [new]


def test_a_damaged_wheel_is_built_anew(cache, offline, capsys):
    offline(SOURCES)
    wheel = wheel_with(cache / f"onedl-mmcv-{VERSION}_python" / "mmcv.whl", "mmcv/__init__.py")
    wheel.write_bytes(wheel.read_bytes()[:40])
    built = obtain("python", "cpu")
    assert f"the wheel {wheel} is damaged: it is built anew" in capsys.readouterr().out
    assert [*cache.glob("*/*.whl")] == [built]
    with zipfile.ZipFile(built) as archive:
        assert [name for name in archive.namelist() if name.startswith("mmcv/")] == ["mmcv/__init__.py"]


def test_no_network(cache, offline):
    with pytest.raises(SetUpError, match=rf"onedl-mmcv=={VERSION} could not be downloaded .*: is there a network\?"):
        obtain("python", "cpu")
    assert [path.suffix for path in cache.iterdir()] == [".log"]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SetUpError, match=r"cannot be used .*: set XDG_CACHE_HOME to a folder that can be written"):
        obtain("python", "cpu")


def test_no_compiler_and_no_headers(tmp_path, monkeypatch):
    (tmp_path / "c++").write_text("")
    (tmp_path / "c++").chmod(0o755)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = (
        f"mmcv's ops need Python's headers, and there is no {tmp_path}/Python.h: on Debian or Ubuntu, apt-get install"
    )
    assert missing_tools(tmp_path) == f"{expected} python3-dev"
    (tmp_path / "Python.h").touch()
    assert missing_tools(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert missing_tools(tmp_path).startswith(
        "mmcv's ops need a C++ compiler, and there is none: on Debian or Ubuntu, "
    )


def test_unified_sources(tmp_path):
    folder = tmp_path / "mmcv" / "ops" / "csrc" / "pytorch"
    for name in ("psamask.cpp", "a.cpp", "pybind.cpp", "cpu/c.cpp", "cpu/psamask.cpp", "cuda/d.cpp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    assert unify(tmp_path) == ["all_pytorch", "pybind", "all_cpu", "psamask"]
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*.cpp")}
    assert left == {"all_pytorch.cpp", "pybind.cpp", "cpu/all_cpu.cpp", "cpu/psamask.cpp", "cuda/d.cpp"}
    assert (folder / "all_pytorch.cpp").read_text() == '#include "a.cpp.inc"\n#include "psamask.cpp.inc"\n'
    assert (folder / "a.cpp.inc").read_text() == "a.cpp"


@pytest.mark.mm
def test_the_short_build_and_the_plain_one_when_it_fails(cache, offline, capsys):
    pytest.importorskip("torch")
    if why := missing_tools():
        pytest.skip(why)
    offline(SOURCES)
    built = obtain("compiled", "cpu")
    assert is_sound(built, "compiled")
    said = capsys.readouterr().out
    assert "compiling the ops of onedl-mmcv" in said
    assert "file by file" not in said
    log = Path(f"{built.parent}.log").read_text()
    assert "all_cpu.cpp" in log
    assert "second.cpp -o" not in log
    assert f"ninja is {Path(sys.executable).parent}/ninja" in log  # also where .venv/bin is not on the PATH
    assert obtain("compiled", "cpu") == built
    offline({**SOURCES, "clash.cpp": "static int own() { return 3; }\n"})  # with first.cpp, in one file
    again = obtain("compiled", "cpu", rebuild=True)
    said = capsys.readouterr().out
    assert f"the wheel {built} is replaced" in said
    assert "the short way failed" in said
    assert is_sound(again, "compiled")


@pytest.mark.mm
def test_a_build_that_fails_shows_the_end_of_its_log(cache, offline):
    pytest.importorskip("torch")
    if why := missing_tools():
        pytest.skip(why)
    offline({**SOURCES, "first.cpp": "int first() { return nothing; }\n"})
    with pytest.raises(SetUpError, match=r"(?s)nothing.*building .* failed, the whole log is .*AL_ROTATE_OPS=python"):
        obtain("compiled", "cpu")
    assert [*cache.glob("*/*.whl")] == []
