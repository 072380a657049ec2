"""Maladies by their facts (with the error texts of real broken installations), and installations broken for real."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from al_rotate.cli import doctor
from al_rotate.cli import installation as _installation
from al_rotate.cli.doctor import diagnose, report
from al_rotate.cli.installation import CORE, Check, Facts

ROOT = Path(__file__).resolve().parents[2]
PIP = "/env/bin/python -m pip"
TOOLS = f"{PIP} install setuptools==80.9.0 wheel ninja psutil"
BUILD = (
    "install --no-cache-dir --no-build-isolation --no-deps --force-reinstall --no-binary onedl-mmcv onedl-mmcv==2.3.6"
)
REBUILD = f"{TOOLS} && CFLAGS='-O3 -g0' CXXFLAGS='-O3 -g0' {PIP} {BUILD}"
REBUILD_CUDA = f"{TOOLS} && CFLAGS='-O3 -g0' CXXFLAGS='-O3 -g0' FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=9.0 {PIP} {BUILD}"
REMATCH = f"{PIP} uninstall -y torchvision && {PIP} install"
NMS_MISSING = "RuntimeError: operator torchvision::nms does not exist"
NO_DRIVER = {"cuda": "13.0", "no_gpu": "Found no NVIDIA driver on your system"}
H100 = {"cuda": "13.0", "gpu": "NVIDIA H100 80GB HBM3", "arch": "9.0"}
RIGHT = {"folder": "/env/mmcv", "has_ops": True, "device": "cpu", "iou": 0.33333331, "kept": [1]}

HEALTHY = Facts(
    python=(3, 11, 7),
    executable="/env/bin/python",
    versions={
        "numpy": "2.2.6",
        "torch": "2.11.0",
        "torchvision": "0.26.0",
        "opencv-python": "4.12.0.88",
        "opencv-python-headless": "4.12.0.88",
        "onedl-mmengine": "0.10.12",
        "onedl-mmcv": "2.3.6",
        "onedl-mmdetection": "3.5.1",
        "onedl-mmrotate": "1.2.1",
    },
    checks={name: Check() for name in _installation.CHECKS} | {"torch": Check(NO_DRIVER), "mmcv": Check(RIGHT)},
    torchvision_needs="2.11.0",
)
CORE_ONLY = dataclasses.replace(
    HEALTHY, versions={"numpy": "2.2.6"}, checks={name: Check() for name in CORE}, torchvision_needs=None
)


def sick(
    versions: Mapping[str, str | None] | None = None, checks: Mapping[str, Check | None] | None = None, **other: Any
) -> Facts:
    """The healthy installation with some facts changed; None takes a fact away."""
    kept_versions = {k: v for k, v in {**HEALTHY.versions, **(versions or {})}.items() if v is not None}
    kept_checks = {k: v for k, v in {**HEALTHY.checks, **(checks or {})}.items() if v is not None}
    return dataclasses.replace(HEALTHY, versions=kept_versions, checks=kept_checks, **other)


def failed(error: str, **values: Any) -> Check:
    return Check(values, error)


MALADIES = {
    "mmcv without ops": (
        sick(checks={"mmcv": Check({"folder": "/env/mmcv", "has_ops": False})}),
        "mmcv has no ops",
        "/env/mmcv holds no compiled mmcv._ext",
        REBUILD,
    ),
    "mmcv of another torch": (
        sick(
            checks={
                "mmcv": failed(
                    "ImportError: /env/mmcv/_ext.cpython-311-x86_64-linux-gnu.so: "
                    "undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs"
                )
            }
        ),
        "mmcv's ops were built for another torch than 2.11.0",
        "undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs",
        REBUILD,
    ),
    "mmcv of another CUDA": (
        sick(
            checks={
                "torch": Check(H100),
                "mmcv": failed(
                    "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"
                ),
            }
        ),
        "mmcv's ops were built for another torch than 2.11.0",
        "libcudart.so.12",
        REBUILD_CUDA,
    ),
    "mmcv without GPU ops": (
        sick(
            checks={
                "torch": Check(H100),
                "mmcv": failed(
                    "RuntimeError: box_iou_rotated_impl: implementation for device cuda:0 not found.",
                    **{**RIGHT, "device": "cuda"},
                ),
            }
        ),
        "mmcv's ops do not run on the GPU",
        "cuda:0 not found.; install the CUDA 13.0 toolkit first: there is no nvcc",
        REBUILD_CUDA,
    ),
    "mmcv's ops wrong": (
        sick(checks={"mmcv": Check({**RIGHT, "iou": 1.0, "kept": [1]})}),
        "mmcv's ops compute wrong values",
        "on cpu: IoU 1.0000 (should be 0.3333), NMS [1] (should be [1])",
        REBUILD,
    ),
    "mmcv missing": (sick({"onedl-mmcv": None}, {"mmcv": None}), "mmcv is missing", "detector", REBUILD),
    "torchvision of another torch": (
        sick({"torchvision": "0.25.0"}, {"torchvision": failed(NMS_MISSING)}, torchvision_needs="2.10.0"),
        "torchvision 0.25.0 does not match torch",
        "it is made for torch 2.10.0, and torch 2.11.0 is installed",
        f"{REMATCH} torch==2.11.0 torchvision==0.26.0",
    ),
    "PyPI's torchvision beside a CPU torch": (
        sick({"torch": "2.11.0+cpu"}, {"torchvision": failed(NMS_MISSING)}),
        "torchvision 0.26.0 does not match torch",
        "operator torchvision::nms does not exist; torch is 2.11.0+cpu",
        f"{REMATCH} torch==2.11.0+cpu torchvision --index-url https://download.pytorch.org/whl/cpu",
    ),
    "torchvision left behind by another torch": (  # torch stays as it is: mmcv is built for it
        sick({"torch": "2.9.1"}, {"torchvision": failed(NMS_MISSING)}),
        "torchvision 0.26.0 does not match torch",
        "it is made for torch 2.11.0, and torch 2.9.1 is installed",
        f"{REMATCH} torch==2.9.1 torchvision",
    ),
    "torchvision missing": (
        sick({"torchvision": None}, {"torchvision": None}, torchvision_needs=None),
        "torchvision is missing",
        "mmrotate needs it",
        f"{PIP} install torch==2.11.0 torchvision==0.26.0",
    ),
    "torch missing": (
        sick(
            {"torch": None},
            {"torch": None, "mmcv": failed("ModuleNotFoundError: No module named 'torch'", has_ops=True)},
        ),
        "torch is missing",
        "detector",
        f"{PIP} install torch==2.11.0 torchvision==0.26.0",
    ),
    "two OpenCVs": (
        sick({"opencv-python-headless": "4.11.0.86"}),
        "opencv-python 4.12.0.88 and opencv-python-headless 4.11.0.86 are installed together",
        "one cv2/ folder",
        f"{PIP} uninstall -y opencv-python opencv-python-headless"
        f" && {PIP} install --no-deps opencv-python==4.12.0.88"
        f" && {PIP} install --no-deps opencv-python-headless==4.12.0.88",
    ),
    "a contrib OpenCV of another version": (
        sick({"opencv-python": None, "opencv-contrib-python": "4.10.0.84"}),
        "opencv-contrib-python 4.10.0.84 and opencv-python-headless 4.12.0.88 are installed together",
        "one cv2/ folder",
        f"{PIP} uninstall -y opencv-contrib-python opencv-python-headless"
        f" && {PIP} install --no-deps opencv-contrib-python==4.12.0.88"
        f" && {PIP} install --no-deps opencv-python-headless==4.12.0.88",
    ),
    "OpenCV on a server without libGL": (
        sick(
            {"opencv-python-headless": None},
            {"cv2": failed("ImportError: libGL.so.1: cannot open shared object file: No such file or directory")},
        ),
        "cv2 needs a display's libraries",
        "libGL.so.1",
        f"{PIP} install --force-reinstall --no-deps opencv-python-headless==4.12.0.88",
    ),
    "old mmrotate": (
        sick({"onedl-mmrotate": None, "mmrotate": "0.3.4"}),
        "mmrotate 0.3.4 is of the old 0.x line",
        "al_rotate needs mmrotate 1.x",
        f"{PIP} uninstall -y mmrotate && {TOOLS} && {PIP} install --no-build-isolation onedl-mmrotate==1.2.1",
    ),
    "old mmcv": (
        sick({"onedl-mmcv": None, "mmcv-full": "1.7.2"}),
        "mmcv-full 1.7.2 is of the old 1.x line",
        "al_rotate needs mmcv 2.x",
        f"{PIP} uninstall -y mmcv-full && {REBUILD}",
    ),
    "official and fork": (
        sick({"mmdet": "3.3.0"}),
        "mmdet 3.3.0 and onedl-mmdetection 3.5.1 are installed together",
        "one mmdet/ folder",
        f"{PIP} uninstall -y mmdet onedl-mmdetection && {TOOLS} && "
        f"{PIP} install --no-build-isolation onedl-mmdetection==3.5.1",
    ),
    "mmdet refuses mmcv": (
        sick(
            {"onedl-mmdetection": None, "mmdet": "3.3.0"},
            {
                "mmdet": failed(
                    "AssertionError: MMCV==2.3.6 is used but incompatible. Please install mmcv>=2.0.0rc4, <2.2.0."
                )
            },
        ),
        "mmdet fails",
        "MMCV==2.3.6 is used but incompatible",
        f"{PIP} uninstall -y mmdet && {TOOLS} && {PIP} install --no-build-isolation onedl-mmdetection==3.5.1",
    ),
    "setuptools too new": (
        sick(checks={"mmengine": failed("ModuleNotFoundError: No module named 'pkg_resources'")}),
        "mmengine fails",
        "setuptools 82 dropped",
        f"{PIP} install setuptools==80.9.0",
    ),
    "core packages missing": (
        dataclasses.replace(CORE_ONLY, checks={name: Check() for name in CORE if name not in ("sklearn", "shapely")}),
        "missing: sklearn, shapely",
        "core",
        f"{PIP} install scikit-learn==1.7.2 shapely==2.1.2",
    ),
    "a core package crashes": (
        dataclasses.replace(
            CORE_ONLY, checks={**CORE_ONLY.checks, "pyarrow": failed("the process was killed by SIGILL")}
        ),
        "pyarrow fails",
        "SIGILL",
        f"{PIP} install --force-reinstall --no-deps pyarrow==22.0.0",
    ),
    "Python too new": (
        dataclasses.replace(HEALTHY, python=(3, 13, 0), checks={}, versions={}, other_python="/usr/bin/python3.12"),
        "Python 3.13 is not supported",
        "3.10, 3.11 and 3.12 are",
        f"make -C {ROOT} PYTHON=/usr/bin/python3.12 setup",
    ),
}


@pytest.mark.parametrize("malady", MALADIES)
def test_each_malady_is_named_with_its_repair(malady: str) -> None:
    facts, what, why, repair = MALADIES[malady]
    (problem,) = diagnose(facts)
    assert problem.what.startswith(what)
    assert why in problem.why
    assert problem.repair == repair
    assert f"1. {problem.what}: {problem.why}\n   repair: {repair}\n" in report(facts, [problem])


def test_healthy_facts_have_no_problem_with_or_without_a_gpu() -> None:
    assert diagnose(HEALTHY) == []
    assert "CPU         Found no NVIDIA driver on your system; torch is built for CUDA 13.0" in report(HEALTHY, [])
    gpu = sick(checks={"torch": Check(H100), "mmcv": Check({**RIGHT, "device": "cuda"})})
    assert diagnose(gpu) == []
    assert re.search(
        r"device +GPU +NVIDIA H100 80GB HBM3; torch is built for CUDA 13.0\nmmcv ops +on cuda ", report(gpu, [])
    )


def test_the_core_alone_is_healthy_and_shows_how_to_get_detection() -> None:
    assert diagnose(CORE_ONLY) == []
    text = report(CORE_ONLY, [])
    assert text.splitlines()[-4:] == [
        "The core works. To train and run detectors, install them, in this order:",
        f"{PIP} install torch==2.11.0 torchvision==0.26.0",
        REBUILD,
        f"{PIP} install --no-build-isolation onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmdetection==3.5.1 "
        "onedl-mmrotate==1.2.1 opencv-python==4.12.0.88 opencv-python-headless==4.12.0.88",
    ]
    # torch alone, there for other work, is no half-installed detector
    torch = dataclasses.replace(CORE_ONLY, checks={**CORE_ONLY.checks, "torch": Check(NO_DRIVER)})
    assert diagnose(torch) == []


def test_echoes_of_a_problem_are_not_told_but_a_second_malady_is() -> None:
    echo = failed("RuntimeError: operator torchvision::nms does not exist")
    facts = sick(
        {"torchvision": "0.25.0"},
        {
            "torchvision": echo,
            "mmrotate": echo,
            "mmdet": failed("ModuleNotFoundError: No module named 'mmcv._ext'"),
            "mmcv": Check({"folder": "/env/mmcv", "has_ops": False}),
        },
        torchvision_needs="2.10.0",
    )
    assert [problem.what for problem in diagnose(facts)] == [
        "torchvision 0.25.0 does not match torch",
        "mmcv has no ops",
    ]


def test_a_path_with_a_space_is_quoted() -> None:
    facts = dataclasses.replace(CORE_ONLY, executable="/my env/bin/python", checks={})
    assert diagnose(facts)[0].repair.startswith("'/my env/bin/python' -m pip install numpy==2.2.6 scipy==")


def test_the_pins_are_those_of_the_requirements() -> None:
    lines = [line for name in ("core", "torch", "mm", "build") for line in _requirements(name)]
    opencv = [f"{name}=={doctor.OPENCV}" for name in doctor.OPENCVS]
    forks = [fork for fork, _ in doctor.OPENMM.values()]
    for pin in [*CORE.values(), doctor.TORCH, doctor.TORCHVISION, *forks, *opencv, doctor.BUILD_TOOLS.split()[0]]:
        assert pin in lines
    assert len(CORE) == len(_requirements("core"))


def _requirements(name: str) -> list[str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


# -- installations broken for real


def run(
    python: Path | str, cwd: Path, *path: Path, arguments: tuple[str, ...] = ("-m", "al_rotate.cli.doctor")
) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    done = subprocess.run([str(python), *arguments], cwd=cwd, env=env, capture_output=True, text=True)
    return done.returncode, done.stdout or done.stderr


def install(site: Path, name: str, version: str, module: str = "", source: str = "", requires: str = "") -> None:
    """What pip leaves behind: a dist-info folder, and a package where there is one."""
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
    assert f"repair: {python} -m pip install {' '.join(CORE.values())}\n" in text
    assert text.count("repair:") == 1


def test_real_folders_of_two_opencvs_old_mmrotate_and_mmcv_without_ops(bare: tuple[Path, Path], tmp_path: Path) -> None:
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
        f" && {pip} install --no-deps opencv-python==4.12.0.88"
        f" && {pip} install --no-deps opencv-contrib-python-headless==4.12.0.88",
        f"{pip} install torch==2.11.0 torchvision==0.26.0",
        f"{tools} && {pip} install --no-build-isolation onedl-mmengine==0.10.12",
        REBUILD.replace(PIP, pip),
        f"{pip} uninstall -y mmdet onedl-mmdetection && {tools} && "
        f"{pip} install --no-build-isolation onedl-mmdetection==3.5.1",
        f"{pip} uninstall -y mmrotate && {tools} && {pip} install --no-build-isolation onedl-mmrotate==1.2.1",
    ]
    assert f"mmcv has no ops: {site / 'mmcv'} holds no compiled mmcv._ext" in text


def test_survives_a_crash_and_a_hang_and_goes_on(bare: tuple[Path, Path], tmp_path: Path) -> None:
    python, site = bare
    install(site, "numpy", "2.2.6", "numpy", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    install(site, "scipy", "1.15.3", "scipy", "raise SystemExit(3)")
    install(site, "pandas", "2.3.3", "pandas", "import os; os._exit(4)")
    install(site, "tqdm", "4.67.1", "tqdm", "import time; time.sleep(600)")
    install(site, "torchvision", "0.25.0", requires="torch (==2.10.0)")
    show = (
        "from al_rotate.cli.installation import gather; facts = gather(timeout=3);"
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
        r"device +(CPU|GPU) .*\nmmcv ops +on (cpu|cuda) +box_iou_rotated 0\.3333 .*nms_rotated \[1\]", text
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
    assert ops[1].endswith(f"{sys.executable} -m pip {BUILD}")
