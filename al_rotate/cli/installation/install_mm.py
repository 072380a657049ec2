"""``al-rotate install-mm``: PyTorch, mmcv with its ops and MMRotate, into the environment that this runs in.

The set-up of the repository calls it too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import mmcv_wheel
from .commands import SetUpError, pip, require_pip, require_space, say
from .pins import CONSTRAINTS, PYTHONS, name_pythons

TORCH = ("torch", "torchvision")
BUILD_TOOLS = ("setuptools", "wheel", "ninja", "psutil")
MM = ("onedl-mmengine", "onedl-mmdetection", "onedl-mmrotate")
_TORCH_GIGABYTES = 9  # 6.3 unpacked, and the downloads until then
_FACTS = """
import json, torch, torch.utils.cpp_extension as extension
gpu = "%d.%d" % torch.cuda.get_device_capability() if torch.cuda.is_available() else None
print(json.dumps([gpu, extension.CUDA_HOME]))
"""


def install(keep_torch: bool = False, rebuild: bool = False) -> None:
    """Install what detectors need; what is installed already, in the tested version, stays.

    Args:
        keep_torch: leave the torch and torchvision that are installed, of whatever version.
        rebuild: compile mmcv's ops even if the cache has them.

    Raises:
        SetUpError: says in a sentence what to mend.
    """
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SetUpError(f"expected Python {name_pythons()}, got {found}: make an environment with one of them")
    require_pip()
    has_torch = all(importlib.util.find_spec(name) for name in TORCH)
    if not has_torch:
        require_space(Path(sys.prefix), _TORCH_GIGABYTES, "PyTorch, with its libraries for GPUs,")
    with _constraints(without=TORCH if keep_torch and has_torch else ()) as constraints:
        first = BUILD_TOOLS if keep_torch and has_torch else (*TORCH, *BUILD_TOOLS)
        # mmdet and mmrotate import torch while they are built, and say so nowhere.
        pip("the build tools" if has_torch else "PyTorch (several GB), build tools", "-c", constraints, *first)
        ops, device = choose_ops()
        wheel = mmcv_wheel.obtain(ops, device, rebuild)
        pip(f"mmcv ({ops} ops)", "--no-deps", "--force-reinstall", wheel)
        pip("MMRotate", "-c", constraints, "--no-build-isolation", wheel, *MM)
        # It goes in last, so that the cv2/ folder that both OpenCVs share needs no libGL on a server.
        pip("headless OpenCV", "-c", constraints, "--no-deps", "--force-reinstall", "opencv-python-headless")


def choose_ops() -> tuple[str, str]:
    """Return whether mmcv's ops are to be ``compiled`` or ``python``, and for which device: ``AL_ROTATE_OPS`` decides.

    Without it they are compiled where that is possible. The device is the GPU that is seen, or those of
    ``TORCH_CUDA_ARCH_LIST``.

    Raises:
        SetUpError: if they are to be compiled, and something is missing for that.
    """
    wanted = os.environ.get(mmcv_wheel.VARIABLE, "")
    if wanted not in ("", "python", "compiled"):
        raise SetUpError(f"expected {mmcv_wheel.VARIABLE} to be python, compiled or empty, got {wanted!r}")
    if wanted == "python":
        return "python", "cpu"
    answer = subprocess.run([sys.executable, "-c", _FACTS], capture_output=True, text=True)
    if answer.returncode != 0:
        why = (answer.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise SetUpError(f"torch is installed and cannot be imported ({why}): al-rotate doctor says what mends it")
    capability, cuda_home = json.loads(answer.stdout.splitlines()[-1])
    capability = os.environ.get("TORCH_CUDA_ARCH_LIST") or capability
    missing = mmcv_wheel.missing_tools()
    if not missing and capability and not cuda_home:
        missing = "mmcv's ops for a GPU need nvcc, and there is none: install the CUDA toolkit of torch's version"
    if not missing:
        return "compiled", "cuda-sm" + re.sub(r"[;, ]+", "-sm", capability.replace(".", "")) if capability else "cpu"
    if wanted == "compiled":
        raise SetUpError(f"{missing}; then run this again")
    say(f"{missing}. Until then the ops are in PyTorch: RTMDet-R and other one-stage models run, two-stage ones do not")
    return "python", "cpu"


@contextmanager
def _constraints(without: Sequence[str]) -> Iterator[Path]:
    """Give the file of tested versions, without those of some packages."""
    if not without:
        yield CONSTRAINTS
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines(keepends=True)
        file = Path(folder, "constraints.txt")
        file.write_text("".join(line for line in lines if line.partition("==")[0] not in without), encoding="utf-8")
        yield file


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 when all is installed, 1 otherwise.
    """
    description = (
        "Install PyTorch, mmcv with its ops, and MMRotate into the environment that this command runs in. mmcv is "
        f"compiled once and kept in a cache; without a compiler, or with {mmcv_wheel.VARIABLE}=python, its place is "
        "taken by ops in PyTorch, which serve one-stage models."
    )
    parser = argparse.ArgumentParser(
        "al-rotate install-mm",
        description=description,
        epilog="example:\n  al-rotate install-mm",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep-torch", action="store_true", help="leave the torch and torchvision that are installed")
    parser.add_argument("--rebuild", action="store_true", help="compile mmcv's ops even if the cache has them")
    options = parser.parse_args(argv)
    try:
        install(options.keep_torch, options.rebuild)
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
