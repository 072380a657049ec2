"""``al-rotate doctor``: what is wrong with the installation, and the exact commands that repair it.

:func:`diagnose` turns the facts about an installation into problems and runs nothing. Standard library only.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import install_mm
from .facts import CORE, OWNERS, Check, Facts, gather
from .pins import PYTHONS, VERSIONS, name_pythons, pin

STACK = {  # import name -> the import names that it builds on
    "cv2": ("numpy",),
    "torch": (),
    "torchvision": ("numpy", "PIL", "torch"),
    "mmengine": ("numpy", "matplotlib", "cv2", "torch"),
    "mmcv": ("numpy", "PIL", "cv2", "torch", "mmengine"),
    "mmdet": ("numpy", "scipy", "matplotlib", "shapely", "tqdm", "cv2", "torch", "torchvision", "mmengine", "mmcv"),
}
STACK["mmrotate"] = (*STACK["mmdet"], "mmdet")
FORKS = {  # import name -> the maintained fork that holds it
    "mmengine": "onedl-mmengine",
    "mmcv": "onedl-mmcv",
    "mmdet": "onedl-mmdetection",
    "mmrotate": "onedl-mmrotate",
}
FIRST_MAJOR = {"mmengine": 0, "mmcv": 2, "mmdet": 3, "mmrotate": 1}  # of the line that works with MMRotate 1.x
OPENCVS = ("opencv-python", "opencv-python-headless")
OPENCV_VERSION = VERSIONS["opencv-python-headless"]  # of every build: they share one cv2/ folder
# The OpenMMLab packages still import pkg_resources, which setuptools 82 dropped; their sdists import torch to build.
BUILD_TOOLS = pin(*install_mm.BUILD_TOOLS)
VARIABLE = "AL_ROTATE_OPS"
PYTHON_OPS = f"set {VARIABLE}=python, with which one-stage models run on the GPU all the same"
# The loader's errors when mmcv's ops were built for another torch or CUDA than the installed one.
OTHER_TORCH = r"mmcv[/\\]_ext.*(undefined symbol|symbol not found)|lib(c10|torch|cu)\S*: cannot open"


@dataclass(frozen=True)
class Problem:
    """What is wrong, why, and the one command that repairs it."""

    what: str
    why: str
    repair: str


def diagnose(facts: Facts) -> list[Problem]:
    """Name what is wrong, in the order of repair: what others build on comes first.

    An error that may only echo a problem further down the stack is left out; the next run would show it.
    """
    if not PYTHONS[0] <= facts.python[:2] <= PYTHONS[1]:
        return [_other_python(facts)]  # nothing else can be repaired under this one
    problems = list(_core(facts))
    broken = {name for name in CORE if name not in facts.checks or facts.error(name)}
    for name, needs in STACK.items():
        if problem := _RULES.get(name, _openmmlab)(facts, name, broken.isdisjoint(needs)):
            problems.append(problem)
            broken.add(name)
    return problems


def _other_python(facts: Facts) -> Problem:
    python, root = shlex.quote(facts.other_python or "/path/to/python3.13"), Path(__file__).resolve().parents[3]
    repair = f"{python} -m venv .venv && .venv/bin/python -m pip install al_rotate"
    if (root / "Makefile").exists():
        repair = f"make -C {shlex.quote(str(root))} PYTHON={python} setup"
    why = f"{name_pythons()} is needed" + ("" if facts.other_python else "; none is on the PATH: install one first")
    return Problem(f"Python {facts.python[0]}.{facts.python[1]} is not supported", why, repair)


def _core(facts: Facts) -> Iterator[Problem]:
    if missing := [name for name in CORE if name not in facts.checks]:
        repair = f"{facts.pip} install {pin(*(CORE[name] for name in missing))}"
        yield Problem(f"missing: {', '.join(missing)}", "the core needs it", repair)
    for name, distribution in CORE.items():
        if error := facts.error(name):
            yield Problem(f"{name} fails", error, _reinstall(facts, pin(distribution)))


# The rules of the stack: each gets whether everything that the package builds on works.


def _opencv(facts: Facts, name: str, needs_work: bool) -> Problem | None:
    owners = facts.owners(name)
    error = facts.error(name)
    if len({facts.versions[owner] for owner in owners}) > 1:
        what = " and ".join(f"{owner} {facts.versions[owner]}" for owner in owners)
        # One after the other: the last one wins, and the headless one needs no libGL.
        installs = [f"{facts.pip} install --no-deps {owner}=={OPENCV_VERSION}" for owner in owners]
        repair = " && ".join([f"{facts.pip} uninstall -y {' '.join(owners)}", *installs])
        return Problem(f"{what} are installed together", "they overwrite each other's files in one cv2/ folder", repair)
    if error and re.search(r"lib(GL|gthread|SM|Xext|Xrender)[\w.-]*: cannot open shared object", error):
        version = facts.versions[owners[0]] if owners else OPENCV_VERSION
        repair = _reinstall(facts, f"opencv-python-headless=={version}")
        return Problem("cv2 needs a display's libraries, which are not installed", error, repair)
    if (error and needs_work) or (name not in facts.checks and facts.detection):
        pins = [f"{owner}=={OPENCV_VERSION}" for owner in owners or OPENCVS]
        return Problem("cv2 fails" if error else "cv2 is missing", error or "mmcv needs it", _reinstall(facts, *pins))
    return None


def _torch(facts: Facts, name: str, needs_work: bool) -> Problem | None:
    pair = pin("torch", "torchvision")
    if name not in facts.checks and facts.detection:
        return Problem("torch is missing", "the detector needs it", f"{facts.pip} install {pair}")
    if error := facts.error(name):
        return Problem("torch fails", error, f"{facts.pip} install --force-reinstall {pair}")
    return None


def _torchvision(facts: Facts, name: str, needs_work: bool) -> Problem | None:
    torch, error, needs = facts.versions.get("torch", "?"), facts.error(name), facts.torchvision_needs
    if name not in facts.checks:
        if not facts.detection or "torch" not in facts.checks:  # installed together with torch
            return None
        return Problem("torchvision is missing", "mmrotate needs it", f"{facts.pip} install {_torch_pair(facts)}")
    if needs and "torch" in facts.versions and needs.partition("+")[0] != torch.partition("+")[0]:
        why = f"it is made for torch {needs}, and torch {torch} is installed"
    elif error and re.search(r"operator torchvision::|undefined symbol|custom C\+\+ ops", error):
        why = f"{error}; torch is {torch}"
    elif error and needs_work:
        version = facts.versions.get(name, VERSIONS[name])
        return Problem("torchvision fails", error, _reinstall(facts, f"{name}=={version}"))
    else:
        return None
    repair = f"{facts.pip} uninstall -y torchvision && {facts.pip} install {_torch_pair(facts)}"
    return Problem(f"torchvision {facts.versions.get(name, '')} does not match torch", why, repair)


def _torch_pair(facts: Facts) -> str:
    """Return the requirements that keep the installed torch, for which mmcv is built, and match torchvision to it."""
    version, _, build = facts.versions.get("torch", VERSIONS["torch"]).partition("+")
    if build:  # a build from PyTorch's own index ("cpu", "cu128"): PyPI's torchvision does not fit it
        return f"torch=={version}+{build} torchvision --index-url https://download.pytorch.org/whl/{build}"
    return pin("torch", "torchvision") if version == VERSIONS["torch"] else f"torch=={version} torchvision"


def _openmmlab(facts: Facts, name: str, needs_work: bool) -> Problem | None:
    owners, first_major = facts.owners(name), FIRST_MAJOR[name]
    if len(owners) > 1:
        what = " and ".join(f"{owner} {facts.versions[owner]}" for owner in owners)
        why = f"they overwrite each other's files in one {name}/ folder"
        return Problem(f"{what} are installed together", why, _install_fork(facts, name))
    major = facts.versions[owners[0]].partition(".")[0] if owners else ""
    if major.isdigit() and int(major) < first_major:
        what = f"{owners[0]} {facts.versions[owners[0]]} is of the old {major}.x line"
        return Problem(what, f"al_rotate needs {name} {first_major}.x", _install_fork(facts, name))
    if name not in facts.checks:
        if facts.detection:
            return Problem(f"{name} is missing", "the detector needs it", _install_fork(facts, name))
        return None
    values, error = facts.checks[name].values, facts.error(name)
    if name == "mmcv" and (problem := _ops(facts, values, error)):
        return problem
    if not error or not needs_work:
        return None
    if "No module named 'pkg_resources'" in error:
        why = "it imports pkg_resources, which setuptools 82 dropped"
        return Problem(f"{name} fails", why, f"{facts.pip} install {pin('setuptools')}")
    return Problem(f"{name} fails", error, _install_fork(facts, name))


def _ops(facts: Facts, values: Mapping[str, Any], error: str | None) -> Problem | None:
    rebuild = _install_fork(facts, "mmcv")
    torch = facts.checks.get("torch")
    if torch is None or torch.error:  # mmcv's ops need a torch that works
        return None
    if error and f"expected {VARIABLE}" in error:
        return Problem(f"{VARIABLE} says something else", error, f"unset {VARIABLE}")
    if error and values.get("has_ops") is False and "mmcv._ext" in error:
        why = f"{values['folder']} holds no compiled mmcv._ext, and {VARIABLE} asks for it"
        return Problem("mmcv has no compiled ops", why, f"unset {VARIABLE}, or {rebuild}")
    if error and re.search(OTHER_TORCH, error):
        return Problem(f"mmcv's ops were built for another torch than {facts.versions.get('torch')}", error, rebuild)
    if error and values.get("device") == "cuda":
        if not facts.nvcc:
            error += f"; there is no nvcc: install the CUDA {torch.values['cuda']} toolkit first, or {PYTHON_OPS}"
        return Problem("mmcv's ops do not run on the GPU", error, rebuild)
    if not error and (abs(values.get("iou", 1 / 3) - 1 / 3) > 1e-4 or values.get("kept", [1]) != [1]):
        results = f"IoU {values['iou']:.4f} (should be 0.3333), NMS {values['kept']} (should be [1])"
        return Problem("mmcv's ops compute wrong values", f"on {values['device']}: {results}", f"{rebuild} --rebuild")
    return None


_RULES = {"cv2": _opencv, "torch": _torch, "torchvision": _torchvision}


def _reinstall(facts: Facts, *requirements: str) -> str:
    return f"{facts.pip} install --force-reinstall --no-deps {' '.join(requirements)}"


def _install_fork(facts: Facts, name: str) -> str:
    """Return the command that leaves the tested fork, and it alone, in the folder of an import name."""
    fork, owners = pin(FORKS[name]), facts.owners(name)
    steps = [f"{facts.pip} install {BUILD_TOOLS}", f"{facts.pip} install --no-build-isolation {fork}"]
    if name == "mmcv":
        steps = [f"{facts.install_mm} --keep-torch"]
    if owners and (name != "mmcv" or owners != ["onedl-mmcv"]):
        steps.insert(0, f"{facts.pip} uninstall -y {' '.join(owners)}")
    return " && ".join(steps)


def report(facts: Facts, problems: Sequence[Problem]) -> str:
    """Write the findings as text: versions, the device and the ops, then two lines for each problem."""
    python = ".".join(map(str, facts.python))
    rows = [("Python", python, facts.executable), ("al_rotate", facts.versions.get("al-rotate", "-"), "")]
    for name in ("numpy", "torch", "torchvision"):
        rows.append((name, facts.versions.get(name, "-"), ""))
    for name in OWNERS:
        owners = facts.owners(name)
        versions = sorted({facts.versions[owner] for owner in owners})
        rows.append((name, " / ".join(versions) or "-", ", ".join(owners)))
    studio = facts.versions.get("label-studio-sdk")
    install = f"only for Label Studio: {facts.pip} install {pin('label-studio-sdk')} httpx fastapi uvicorn"
    rows.append(("label-studio-sdk", studio or "-", "" if studio else install))
    torch, mmcv = (facts.checks.get(name, Check()).values for name in ("torch", "mmcv"))
    if torch:
        built = f"torch is built for {'CUDA ' + torch['cuda'] if torch['cuda'] else 'the CPU'}"
        rows.append(("device", "GPU" if "gpu" in torch else "CPU", f"{torch.get('gpu', torch.get('no_gpu'))}; {built}"))
    if "kept" in mmcv and not facts.error("mmcv"):
        results = f"box_iou_rotated {mmcv['iou']:.4f} (should be 0.3333), nms_rotated {mmcv['kept']} (should be [1])"
        ops = "compiled"
        if mmcv.get("ops") == "python":
            ops, results = "PyTorch", f"{results}; for one-stage models only, {facts.install_mm} compiles the others"
        elif mmcv.get("gpu_ops") == "python":
            results += (
                "; not compiled for this GPU: one-stage models take ops in PyTorch there, the others need nvcc of "
            )
            results += f"CUDA {torch.get('cuda')}, and then {facts.install_mm} --keep-torch"
        rows.append(("mmcv ops", ops, f"on {mmcv['device']}: {results}"))
    lines = [f"{name:<17} {version:<11} {note}".rstrip() for name, version, note in rows]
    for number, problem in enumerate(problems, 1):
        lines += ["", f"{number}. {problem.what}: {problem.why}", f"   repair: {problem.repair}"]
    if problems:
        lines += ["", "Repair in this order and run the doctor again: one repair may show the next problem."]
    elif facts.detection:
        lines += ["", "All is well: the core and the detector work."]
    else:
        keep = " --keep-torch" if "torch" in facts.checks else ""
        lines += ["", "The core works. To train and run detectors:", f"{facts.install_mm}{keep}"]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report.

    Returns:
        0 when all is well, 1 when something is wrong.
    """
    description = "Check the installation, run a real mmcv op, and print the exact commands that repair what is wrong."
    parser = argparse.ArgumentParser(
        "al-rotate doctor",
        description=description,
        epilog="example:\n  al-rotate doctor",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(argv)
    print("Importing every package in a child process ...", file=sys.stderr, flush=True)
    facts = gather()
    problems = diagnose(facts)
    print(report(facts, problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
