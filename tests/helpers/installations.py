"""Installations in plain facts, healthy and with some facts changed, and the repairs that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from al_rotate.cli.installation.facts import CHECKS, CORE, Check, Facts

PIP = "/env/bin/python -m pip"
TOOLS = f"{PIP} install setuptools==80.9.0 wheel==0.45.1 ninja==1.13.0 psutil==7.2.2"
INSTALL_MM = "/env/bin/python -m al_rotate install-mm"
REBUILD = f"{INSTALL_MM} --keep-torch"
REMATCH = f"{PIP} uninstall -y torchvision && {PIP} install"
NMS_MISSING = "RuntimeError: operator torchvision::nms does not exist"
NO_DRIVER = {"cuda": "13.0", "no_gpu": "Found no NVIDIA driver on your system"}
H100 = {"cuda": "13.0", "gpu": "NVIDIA H100 80GB HBM3", "arch": "9.0"}
RIGHT = {"folder": "/env/mmcv", "has_ops": True, "ops": "compiled", "device": "cpu", "iou": 0.33333331, "kept": [1]}

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
    checks={name: Check() for name in CHECKS} | {"torch": Check(NO_DRIVER), "mmcv": Check(RIGHT)},
    torchvision_needs="2.11.0",
)
CORE_ONLY = dataclasses.replace(
    HEALTHY, versions={"numpy": "2.2.6"}, checks={name: Check() for name in CORE}, torchvision_needs=None
)


def changed(
    versions: Mapping[str, str | None] | None = None, checks: Mapping[str, Check | None] | None = None, **other: Any
) -> Facts:
    """The healthy installation with some facts changed; None takes a fact away."""
    kept_versions = {k: v for k, v in {**HEALTHY.versions, **(versions or {})}.items() if v is not None}
    kept_checks = {k: v for k, v in {**HEALTHY.checks, **(checks or {})}.items() if v is not None}
    return dataclasses.replace(HEALTHY, versions=kept_versions, checks=kept_checks, **other)


def failed(error: str, **values: Any) -> Check:
    return Check(values, error)
