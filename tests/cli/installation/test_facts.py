"""Installations broken for real, and this one."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from helpers.installations import PIP, TOOLS

from al_rotate.cli.installation.facts import CORE
from al_rotate.cli.installation.pins import VERSIONS, pin

ROOT = Path(__file__).resolve().parents[3]


def run(
    python: Path | str, cwd: Path, *path: Path, arguments: tuple[str, ...] = ("-m", "al_rotate.cli.installation.doctor")
) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    process = subprocess.run([str(python), *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    return process.returncode, process.stdout or process.stderr


def install(site: Path, name: str, version: str, module: str = "", source: str = "", requires: str = "") -> None:
    """Leave what pip does: a dist-info folder, and on request a package."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    if module:
        (site / module).mkdir()
        (site / module / "__init__.py").write_text(source)


@pytest.fixture
def bare(tmp_path: Path) -> tuple[Path, Path]:
    """A virtual environment with the standard library alone: (its python, its site-packages)."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(tmp_path / "env")
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    return tmp_path / "env" / "bin" / "python", site


def test_runs_with_the_standard_library_alone(bare: tuple[Path, Path], tmp_path: Path) -> None:
    python, _ = bare
    code, text = run(python, tmp_path)
    assert code == 1
    assert f"repair: {python} -m pip install {pin(*CORE.values())}\n" in text
    assert text.count("repair:") == 1


def test_the_command_starts_with_the_standard_library_alone(bare: tuple[Path, Path], tmp_path: Path) -> None:
    python, _ = bare
    code, text = run(python, tmp_path, arguments=("-m", "al_rotate", "doctor", "--help"))
    assert (code, text.splitlines()[0]) == (0, "usage: al-rotate doctor [-h]")


def test_real_folders_of_two_opencvs_old_mmrotate_and_mmcv(bare: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = bare
    pip = f"{python} -m pip"
    tools = TOOLS.replace(PIP, pip)
    install(site, "opencv-python", "4.12.0.88", "cv2")
    install(site, "opencv_contrib_python_headless", "4.10.0.84")
    install(site, "onedl-mmcv", "2.3.6", "mmcv", "print('mmcv greets on stdout')")
    install(site, "mmrotate", "0.3.4", "mmrotate")
    install(site, "mmdet", "3.3.0", "mmdet")
    install(site, "onedl-mmdetection", "3.5.1")
    code, text = run(python, tmp_path)
    assert code == 1
    repairs = re.findall(r"repair: (.*)", text)
    assert repairs[1:] == [
        f"{pip} uninstall -y opencv-python opencv-contrib-python-headless"
        f" && {pip} install --no-deps opencv-python=={VERSIONS['opencv-python']}"
        f" && {pip} install --no-deps opencv-contrib-python-headless=={VERSIONS['opencv-python']}",
        f"{pip} install torch==2.11.0 torchvision==0.26.0",
        f"{tools} && {pip} install --no-build-isolation onedl-mmengine==0.10.12",
        f"{pip} uninstall -y mmdet onedl-mmdetection && {tools} && "
        f"{pip} install --no-build-isolation onedl-mmdetection==3.5.1",
        f"{pip} uninstall -y mmrotate && {tools} && {pip} install --no-build-isolation onedl-mmrotate==1.2.1",
    ]


def test_survives_a_crash_and_a_hang(bare: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = bare
    install(site, "numpy", "2.2.6", "numpy", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    install(site, "scipy", "1.15.3", "scipy", "raise SystemExit(3)")
    install(site, "pandas", "2.3.3", "pandas", "import os; os._exit(4)")
    install(site, "tqdm", "4.67.1", "tqdm", "import time; time.sleep(600)")
    install(site, "torchvision", "0.25.0", requires="torch (==2.10.0)")
    show = (
        "from al_rotate.cli.installation.facts import gather; facts = gather(timeout=3);"
        "print(({name: check.error for name, check in facts.checks.items()}, facts.torchvision_needs))"
    )
    code, text = run(python, tmp_path, arguments=("-c", show))
    assert (code, ast.literal_eval(text)) == (
        0,
        (
            {
                "numpy": "the process was killed by SIGSEGV",
                "scipy": "SystemExit: 3",
                "pandas": "it exited with 4",
                "tqdm": "it did not finish within 3 s",
            },
            "2.10.0",
        ),
    )


@pytest.mark.mm
def test_this_installation_is_healthy_and_really_runs_the_op(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("mmcv")
    code, text = run(sys.executable, tmp_path)
    assert code == 0, text
    assert re.search(
        r"device +(CPU|GPU) .*\nmmcv ops +compiled +on (cpu|cuda): box_iou_rotated 0\.3333 .*nms_rotated \[1\]", text
    )
    assert text.endswith("All is well: the core and the detector work.\n")


@pytest.mark.mm
def test_ops_of_another_torch_and_a_torchvision_that_lost_its_ops(tmp_path: Path) -> None:
    """The loader's own errors: mmcv._ext wants a symbol that this torch does not have, and torchvision has no _C.so."""
    pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    compiler = shutil.which("cc") or pytest.skip("needs a C compiler")
    broken = tmp_path / "broken"
    shutil.copytree(
        Path(torchvision.__file__).parent, broken / "torchvision", ignore=shutil.ignore_patterns("*.so*", "__pycache__")
    )
    for name in ("mmcv", "mmdet", "mmrotate", "mmrotate/models", "pandas", "sklearn", "pyarrow"):
        (broken / name).mkdir()  # empty where it is not under test: to be quick
        (broken / name / "__init__.py").touch()
    source, symbol = tmp_path / "ext.c", "_ZN3c105ErrorC2ENS_14SourceLocationESs"
    source.write_text(f"void {symbol}(void);\nvoid *PyInit__ext(void) {{ {symbol}(); return 0; }}\n")
    library = broken / "mmcv" / f"_ext{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    code, text = run(sys.executable, tmp_path, broken)
    assert code == 1
    vision, ops = re.findall(r"\d\. (.*)\n   repair: (.*)", text)
    assert re.match(
        r"torchvision \S+ does not match torch: RuntimeError: operator torchvision::nms does not exist", vision[0]
    )
    assert f"{sys.executable} -m pip uninstall -y torchvision && " in vision[1]
    assert re.match(
        rf"mmcv's ops were built for another torch than \S+: ImportError: {library}: undefined symbol: {symbol}", ops[0]
    )
    assert ops[1] == f"{sys.executable} -m al_rotate install-mm --keep-torch"
