"""The installation in plain facts: versions, and the outcome of importing and trying each package.

Imports run in child processes, because a broken installation may well crash. Standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from .pins import PYTHONS

CORE = {  # import name -> the distribution that holds it
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "pyarrow": "pyarrow",
    "shapely": "shapely",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "shtab": "shtab",
    "tqdm": "tqdm",
}
OWNERS = {  # import name -> every distribution that unpacks into its folder
    "cv2": ("opencv-contrib-python", "opencv-python", "opencv-contrib-python-headless", "opencv-python-headless"),
    "mmengine": ("mmengine", "mmengine-lite", "onedl-mmengine"),
    "mmcv": ("mmcv", "mmcv-full", "mmcv-lite", "onedl-mmcv"),
    "mmdet": ("mmdet", "onedl-mmdetection"),
    "mmrotate": ("mmrotate", "onedl-mmrotate"),
}

# Where mmcv's ops are not compiled, others take their place: al_rotate.detection must be imported first.
_WITH_OPS = "import al_rotate.detection\n"
# The code that checks each import name, after those it builds on. `values` is returned, also by a check that fails.
CHECKS = {
    **{name: f"import {name}" for name in CORE},
    "cv2": "import cv2",
    "torch": """
import torch
values["cuda"] = torch.version.cuda
try:
    torch.cuda.init()
    values["gpu"] = torch.cuda.get_device_name(0)
    values["arch"] = "%d.%d" % torch.cuda.get_device_capability(0)
except Exception as error:
    values["no_gpu"] = str(error).split(". ")[0].strip()
""",
    "torchvision": """
import torch, torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.ones(1), 0.5)
""",
    "mmengine": "import mmengine",
    # The files come first: whether mmcv has its ops is known even where torch is broken.
    "mmcv": _WITH_OPS
    + """
import importlib.machinery
folder = spec.submodule_search_locations
values["folder"] = list(folder)[0]
values["has_ops"] = importlib.machinery.PathFinder.find_spec("mmcv._ext", folder) is not None
import torch, mmcv._ext
from mmcv.ops import box_iou_rotated, nms_rotated
values["ops"] = al_rotate.detection.openmmlab.ops.in_use()
if torch.cuda.is_available():
    from al_rotate.detection.openmmlab import gpu_ops
    gpu_ops.install()
    values["gpu_ops"] = "compiled" if gpu_ops.runs_on(torch.device("cuda:0")) else "python"
boxes = torch.tensor([[50, 50, 40, 20, 0], [50, 50, 40, 20, torch.pi / 2]])
for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
    values["device"] = device
    on = boxes.to(device)
    values["iou"] = box_iou_rotated(on, on)[0, 1].item()
    values["kept"] = nms_rotated(on, torch.tensor([0.6, 0.9], device=device), 0.3)[1].tolist()
    if abs(values["iou"] - 1 / 3) > 1e-4 or values["kept"] != [1]:
        break
""",
    "mmdet": _WITH_OPS + "import mmdet",
    "mmrotate": _WITH_OPS + "import mmrotate.models",
}

# One child runs the checks until one fails; the next checks get a fresh child, since a failed import leaves half-loaded
# modules behind. The answers have a channel of their own, because libraries print to stdout.
_CHILD = """
import importlib.util, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name, code in json.loads(sys.argv[1]):
    spec, values, error = importlib.util.find_spec(name), {}, None
    if spec is not None:
        try:
            exec(code, {"values": values, "spec": spec})
        except BaseException as raised:
            error = type(raised).__name__ + ": " + " ".join(str(raised).split())[:500]
    print(json.dumps([name, spec is not None, values, error]), file=answers, flush=True)
    if error:
        os._exit(0)
"""


@dataclass(frozen=True)
class Check:
    """The outcome of importing and trying one package; `error` is None when all went well."""

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Facts:
    """An installation in plain facts.

    Attributes:
        python: (major, minor, micro) of the interpreter.
        executable: path of the interpreter.
        versions: distribution -> version, as pip sees them.
        checks: import name -> outcome, for the names that can be found.
        torchvision_needs: the version of torch that the installed torchvision requires.
        nvcc: whether a CUDA compiler is installed.
        other_python: a supported Python on the PATH, when this one is not supported.
    """

    python: tuple[int, int, int]
    executable: str
    versions: Mapping[str, str]
    checks: Mapping[str, Check]
    torchvision_needs: str | None = None
    nvcc: bool = False
    other_python: str | None = None

    @property
    def pip(self) -> str:
        return f"{shlex.quote(self.executable)} -m pip"

    @property
    def install_mm(self) -> str:
        return f"{shlex.quote(self.executable)} -m al_rotate install-mm"

    def error(self, name: str) -> str | None:
        """Return how the check of an import name failed; None also when it is not installed."""
        return self.checks[name].error if name in self.checks else None

    def owners(self, name: str) -> list[str]:
        """Return the installed distributions that unpack into the folder of an import name."""
        return [owner for owner in OWNERS[name] if owner in self.versions]

    @property
    def detection(self) -> bool:
        """Whether more than the core was meant to be installed."""
        return any(name in self.checks or self.owners(name) for name in OWNERS if name != "cv2")


def gather(timeout: float = 300) -> Facts:
    """Gather the facts about the interpreter that this runs in; takes as long as importing everything.

    Args:
        timeout: seconds after which an import that hangs counts as failed.
    """
    versions: dict[str, str] = {}
    for distribution in metadata.distributions():
        if name := distribution.metadata["Name"]:  # a torn dist-info folder has no name
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version or "?")
    requirements = metadata.requires("torchvision") or [] if "torchvision" in versions else []
    torch_versions = [m[1] for line in requirements if (m := re.match(r"torch\s*\(?==\s*([\w.+!]+)", line))]
    return Facts(
        python=sys.version_info[:3],
        executable=sys.executable,
        versions=versions,
        checks=_run_checks(timeout),
        torchvision_needs=torch_versions[0] if torch_versions else None,
        nvcc=bool(shutil.which("nvcc")) or Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin/nvcc").exists(),
        other_python=None if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1] else _other_python(),
    )


def _other_python() -> str | None:
    for minor in range(PYTHONS[1][1], PYTHONS[0][1] - 1, -1):
        python = shutil.which(f"python3.{minor}")
        # Run it: a version manager leaves commands on the PATH for disabled Pythons.
        if python and subprocess.run([python, "-c", "import venv"], capture_output=True).returncode == 0:
            return python
    return None


def _run_checks(timeout: float) -> dict[str, Check]:
    pending, outcomes = dict(CHECKS), {}
    while pending:
        command = [sys.executable, "-c", _CHILD, json.dumps(list(pending.items()))]
        try:
            child = subprocess.run(command, capture_output=True, timeout=timeout)
            answers, code = child.stdout, child.returncode
            fate = f"the process was killed by {signal.Signals(-code).name}" if code < 0 else f"it exited with {code}"
        except subprocess.TimeoutExpired as expired:
            answers, fate = expired.stdout or b"", f"it did not finish within {timeout:g} s"
        error = None
        for line in answers.decode().splitlines():
            name, installed, values, error = json.loads(line)
            del pending[name]
            if installed:
                outcomes[name] = Check(values, error)
        if pending and error is None:  # the child died in the next check, before it could answer
            name = next(iter(pending))
            del pending[name]
            outcomes[name] = Check(error=fate)
    return outcomes
