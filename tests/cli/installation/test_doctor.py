"""Broken installations by their facts, with the error texts of real ones."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from helpers.installations import (
    CORE_ONLY,
    H100,
    HEALTHY,
    INSTALL_MM,
    NMS_MISSING,
    NO_DRIVER,
    PIP,
    REBUILD,
    REMATCH,
    RIGHT,
    TOOLS,
    changed,
    failed,
)

from al_rotate.cli.installation.doctor import diagnose, report
from al_rotate.cli.installation.facts import CORE, Check
from al_rotate.cli.installation.pins import VERSIONS, pin

ROOT = Path(__file__).resolve().parents[3]
OPENCV = VERSIONS["opencv-python"]

FAULTS = {
    "mmcv without the compiled ops that are asked for": (
        changed(
            checks={
                "mmcv": failed(
                    "ModuleNotFoundError: No module named 'mmcv._ext'", **{"folder": "/env/mmcv", "has_ops": False}
                )
            }
        ),
        "mmcv has no compiled ops",
        "/env/mmcv holds no compiled mmcv._ext, and AL_ROTATE_OPS asks for it",
        f"unset AL_ROTATE_OPS, or {REBUILD}",
    ),
    "a word that AL_ROTATE_OPS does not know": (
        changed(checks={"mmcv": failed("ValueError: expected AL_ROTATE_OPS to be python, compiled or empty, got 'c'")}),
        "AL_ROTATE_OPS says something else",
        "to be python, compiled or empty, got 'c'",
        "unset AL_ROTATE_OPS",
    ),
    "mmcv of another torch": (
        changed(
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
        changed(
            checks={
                "torch": Check(H100),
                "mmcv": failed(
                    "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"
                ),
            }
        ),
        "mmcv's ops were built for another torch than 2.11.0",
        "libcudart.so.12",
        REBUILD,
    ),
    "mmcv without GPU ops": (
        changed(
            checks={
                "torch": Check(H100),
                "mmcv": failed(
                    "RuntimeError: box_iou_rotated_impl: implementation for device cuda:0 not found.",
                    **{**RIGHT, "device": "cuda"},
                ),
            }
        ),
        "mmcv's ops do not run on the GPU",
        "cuda:0 not found.; there is no nvcc: install the CUDA 13.0 toolkit first, or set AL_ROTATE_OPS=python, with "
        "which one-stage models run on the GPU all the same",
        REBUILD,
    ),
    "mmcv's ops wrong": (
        changed(checks={"mmcv": Check({**RIGHT, "iou": 1.0, "kept": [1]})}),
        "mmcv's ops compute wrong values",
        "on cpu: IoU 1.0000 (should be 0.3333), NMS [1] (should be [1])",
        f"{REBUILD} --rebuild",
    ),
    "mmcv missing": (changed({"onedl-mmcv": None}, {"mmcv": None}), "mmcv is missing", "detector", REBUILD),
    "torchvision of another torch": (
        changed({"torchvision": "0.25.0"}, {"torchvision": failed(NMS_MISSING)}, torchvision_needs="2.10.0"),
        "torchvision 0.25.0 does not match torch",
        "it is made for torch 2.10.0, and torch 2.11.0 is installed",
        f"{REMATCH} torch==2.11.0 torchvision==0.26.0",
    ),
    "PyPI's torchvision with a CPU torch": (
        changed({"torch": "2.11.0+cpu"}, {"torchvision": failed(NMS_MISSING)}),
        "torchvision 0.26.0 does not match torch",
        "operator torchvision::nms does not exist; torch is 2.11.0+cpu",
        f"{REMATCH} torch==2.11.0+cpu torchvision --index-url https://download.pytorch.org/whl/cpu",
    ),
    "torchvision left behind by another torch": (  # torch stays as it is: mmcv is built for it
        changed({"torch": "2.9.1"}, {"torchvision": failed(NMS_MISSING)}),
        "torchvision 0.26.0 does not match torch",
        "it is made for torch 2.11.0, and torch 2.9.1 is installed",
        f"{REMATCH} torch==2.9.1 torchvision",
    ),
    "torchvision missing": (
        changed({"torchvision": None}, {"torchvision": None}, torchvision_needs=None),
        "torchvision is missing",
        "mmrotate needs it",
        f"{PIP} install torch==2.11.0 torchvision==0.26.0",
    ),
    "torch missing": (
        changed(
            {"torch": None},
            {"torch": None, "mmcv": failed("ModuleNotFoundError: No module named 'torch'", has_ops=True)},
        ),
        "torch is missing",
        "detector",
        f"{PIP} install torch==2.11.0 torchvision==0.26.0",
    ),
    "two OpenCVs": (
        changed({"opencv-python-headless": "4.11.0.86"}),
        "opencv-python 4.12.0.88 and opencv-python-headless 4.11.0.86 are installed together",
        "one cv2/ folder",
        f"{PIP} uninstall -y opencv-python opencv-python-headless"
        f" && {PIP} install --no-deps opencv-python=={OPENCV}"
        f" && {PIP} install --no-deps opencv-python-headless=={OPENCV}",
    ),
    "a contrib OpenCV of another version": (
        changed({"opencv-python": None, "opencv-contrib-python": "4.10.0.84"}),
        "opencv-contrib-python 4.10.0.84 and opencv-python-headless 4.12.0.88 are installed together",
        "one cv2/ folder",
        f"{PIP} uninstall -y opencv-contrib-python opencv-python-headless"
        f" && {PIP} install --no-deps opencv-contrib-python=={OPENCV}"
        f" && {PIP} install --no-deps opencv-python-headless=={OPENCV}",
    ),
    "OpenCV on a server without libGL": (
        changed(
            {"opencv-python-headless": None},
            {"cv2": failed("ImportError: libGL.so.1: cannot open shared object file: No such file or directory")},
        ),
        "cv2 needs a display's libraries",
        "libGL.so.1",
        f"{PIP} install --force-reinstall --no-deps opencv-python-headless==4.12.0.88",
    ),
    "old mmrotate": (
        changed({"onedl-mmrotate": None, "mmrotate": "0.3.4"}),
        "mmrotate 0.3.4 is of the old 0.x line",
        "al_rotate needs mmrotate 1.x",
        f"{PIP} uninstall -y mmrotate && {TOOLS} && {PIP} install --no-build-isolation onedl-mmrotate==1.2.1",
    ),
    "old mmcv": (
        changed({"onedl-mmcv": None, "mmcv-full": "1.7.2"}),
        "mmcv-full 1.7.2 is of the old 1.x line",
        "al_rotate needs mmcv 2.x",
        f"{PIP} uninstall -y mmcv-full && {REBUILD}",
    ),
    "official and fork": (
        changed({"mmdet": "3.3.0"}),
        "mmdet 3.3.0 and onedl-mmdetection 3.5.1 are installed together",
        "one mmdet/ folder",
        f"{PIP} uninstall -y mmdet onedl-mmdetection && {TOOLS} && "
        f"{PIP} install --no-build-isolation onedl-mmdetection==3.5.1",
    ),
    "mmdet refuses mmcv": (
        changed(
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
        changed(checks={"mmengine": failed("ModuleNotFoundError: No module named 'pkg_resources'")}),
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
        dataclasses.replace(HEALTHY, python=(3, 15, 0), checks={}, versions={}, other_python="/usr/bin/python3.12"),
        "Python 3.15 is not supported",
        "3.10, 3.11, 3.12, 3.13 or 3.14 is needed",
        f"make -C {ROOT} PYTHON=/usr/bin/python3.12 setup",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_with_its_repair(fault: str) -> None:
    facts, what, why, repair = FAULTS[fault]
    (problem,) = diagnose(facts)
    assert problem.what.startswith(what)
    assert why in problem.why
    assert problem.repair == repair
    assert f"1. {problem.what}: {problem.why}\n   repair: {repair}\n" in report(facts, [problem])


def test_healthy_facts_have_no_problem_with_or_without_a_gpu() -> None:
    assert diagnose(HEALTHY) == []
    assert "CPU         Found no NVIDIA driver on your system; torch is built for CUDA 13.0" in report(HEALTHY, [])
    gpu = changed(checks={"torch": Check(H100), "mmcv": Check({**RIGHT, "device": "cuda"})})
    assert diagnose(gpu) == []
    assert re.search(
        r"device +GPU +NVIDIA H100 80GB HBM3; torch is built for CUDA 13.0\nmmcv ops +compiled +on cuda: ",
        report(gpu, []),
    )


def test_the_core_alone_is_healthy_and_shows_how_to_get_detection() -> None:
    assert diagnose(CORE_ONLY) == []
    shown = ["The core works. To train and run detectors:", INSTALL_MM]
    assert report(CORE_ONLY, []).splitlines()[-2:] == shown
    # torch alone, installed for other work, is no half-installed detector
    torch = dataclasses.replace(CORE_ONLY, checks={**CORE_ONLY.checks, "torch": Check(NO_DRIVER)})
    assert diagnose(torch) == []
    assert report(torch, []).splitlines()[-1] == f"{INSTALL_MM} --keep-torch"


def test_ops_in_pytorch_are_no_fault_and_not_taken_for_compiled_ones() -> None:
    facts = changed(checks={"mmcv": Check({**RIGHT, "has_ops": False, "ops": "python"})})
    assert diagnose(facts) == []
    (line,) = (line for line in report(facts, []).splitlines() if line.startswith("mmcv ops"))
    assert line.split()[:6] == ["mmcv", "ops", "PyTorch", "on", "cpu:", "box_iou_rotated"]
    assert line.endswith(f"; for one-stage models only, {INSTALL_MM} compiles the others")


def test_ops_that_are_compiled_for_the_cpu_alone_serve_one_stage_models_on_a_gpu() -> None:
    mmcv = Check({**RIGHT, "ops": "compiled", "gpu_ops": "python", "device": "cuda"})
    facts = changed(checks={"torch": Check(H100), "mmcv": mmcv})
    assert diagnose(facts) == []
    (line,) = (line for line in report(facts, []).splitlines() if line.startswith("mmcv ops"))
    assert line.split()[:5] == ["mmcv", "ops", "compiled", "on", "cuda:"]
    assert "; not compiled for this GPU: one-stage models take ops in PyTorch there, " in line
    assert line.endswith(f"the others need nvcc of CUDA 13.0, and then {INSTALL_MM} --keep-torch")


def test_echoes_of_a_problem_are_left_out_but_a_second_fault_is() -> None:
    echo = failed("RuntimeError: operator torchvision::nms does not exist")
    facts = changed(
        {"torchvision": "0.25.0"},
        {
            "torchvision": echo,
            "mmrotate": echo,
            "mmdet": failed("ModuleNotFoundError: No module named 'mmcv._ext'"),
            "mmcv": Check({**RIGHT, "iou": 1.0}),
        },
        torchvision_needs="2.10.0",
    )
    assert [problem.what for problem in diagnose(facts)] == [
        "torchvision 0.25.0 does not match torch",
        "mmcv's ops compute wrong values",
    ]


def test_a_path_with_a_space_is_quoted() -> None:
    facts = dataclasses.replace(CORE_ONLY, executable="/my env/bin/python", checks={})
    assert diagnose(facts)[0].repair.startswith(f"'/my env/bin/python' -m pip install {pin('numpy')} scipy==")
