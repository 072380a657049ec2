"""The wheel: what is in it, and what it does in an environment with the core's requirements and nothing else."""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.noisy import CLASSES, NoisyLearner, Start, labels_of
from packaging.requirements import Requirement
from PIL import Image

import al_rotate
from al_rotate.cli.installation import install_mm
from al_rotate.loop import ActiveLoop, SimulatedAnnotator
from al_rotate.sampling import rank

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(al_rotate.__file__).parent
POOL = labels_of(8)
EXTRAS = {  # import names of what the extras bring; cv2 comes with mmcv
    *("torch", "mmcv", "mmengine", "mmdet", "mmrotate", "cv2", "onnx", "onnxruntime"),
    *("label_studio_sdk", "httpx", "fastapi", "uvicorn", "anyio", "ijson"),
}
IMPORT_ALL = """
import pkgutil, sys
from importlib import import_module
import al_rotate
for module in pkgutil.walk_packages(al_rotate.__path__, "al_rotate.", onerror=lambda name: None):
    if not module.name.endswith("__main__"):
        try:
            import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name.partition(".")[0])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel. Its sources are copied, so that no old build/ is mixed in and nothing is left in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(PACKAGE, folder / "source" / "al_rotate", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    pip("wheel", "--no-build-isolation", "-w", folder, folder / "source")
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, and with the core's requirements as links to those of this one."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in closure(requirement for requirement in read_metadata(wheel).get_all("Requires-Dist")):
        distribution = metadata.distribution(name)
        for entry in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / entry).exists():  # else another distribution of the same namespace has linked it
                (site / entry).symlink_to(distribution.locate_file(entry))
    pip("--python", folder / "bin" / "python", "install", "--no-index", wheel)
    return folder


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *map(str, arguments), "-q", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def read_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def closure(requirements):
    """The distributions that these requirements need, without extras."""
    names, pending = set(), list(requirements)
    while pending:
        requirement = Requirement(pending.pop())
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in names:
            names.add(requirement.name)
            pending += metadata.requires(requirement.name) or []
    return names


@pytest.fixture
def run(environment, tmp_path):
    """Run a program of the environment, far from the repository; what it prints."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(program, *arguments):
        command = [str(environment / "bin" / program), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (entry_points,) = (archive.read(name).decode() for name in archive.namelist() if "entry_points" in name)
    files = {file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert names == {file.relative_to(PACKAGE.parent).as_posix() for file in files}
    assert {"al_rotate/py.typed", "al_rotate/cli/constraints.txt", "al_rotate/report/page.html.j2"} <= names
    assert "al_rotate/bridge/backend/page.html.j2" in names
    assert "al-rotate = al_rotate.cli:main" in entry_points
    assert re.search(r"\[al_rotate.annotators\]\n(label-studio|simulated) = ", entry_points)


def test_its_metadata(wheel):
    about = read_metadata(wheel)
    assert (about["Name"], about["Version"]) == ("al_rotate", al_rotate.__version__)
    assert (about["License-Expression"], about["License-File"]) == ("Apache-2.0", "LICENSE")
    assert {*about.get_all("Provides-Extra")} == {"fast", "studio", "geo", "docs", "dev"}
    needs = {Requirement(line).name for line in about.get_all("Requires-Dist")}
    assert not needs & {*install_mm.TORCH, *install_mm.MM, "onedl-mmcv"}  # pip would build mmcv without its ops
    assert about.get_payload().startswith("# al_rotate")


def test_it_imports(run, environment):
    file, version = run("python", "-c", "import al_rotate as al; print(al.__file__, al.__version__)").split()
    assert Path(file).is_relative_to(environment)
    assert version == al_rotate.__version__


def test_modules_lack_nothing_but_the_extras(run):
    missing = dict(line.split() for line in run("python", "-c", IMPORT_ALL).splitlines())
    assert {*missing.values()} <= EXTRAS
    assert {name.split(".")[1] for name in missing} == {"detection", "registered", "bridge"}


def test_help(run):
    assert run("al-rotate", "--help").startswith("usage: al-rotate [-h] [--version] COMMAND")


def test_rank(run, tmp_path):
    detections = POOL.replace(scores=np.random.default_rng(0).random(POOL.n_boxes).astype(np.float32))
    detections.save(tmp_path / "detections" / "0.parquet")
    run("al-rotate", "rank", tmp_path / "detections", "--strategy", "margin", "--out", tmp_path / "ranking.csv")
    expected = rank(detections, "margin").replace("", np.nan)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "ranking.csv"), expected, check_dtype=False)


def test_report(run, tmp_path):
    files = {image_id: tmp_path / f"{image_id}.png" for image_id in POOL.image_ids}
    for file in files.values():
        Image.new("RGB", (128, 128), (90, 120, 60)).save(file)
    annotator, learner = SimulatedAnnotator(POOL), NoisyLearner(POOL)
    with ActiveLoop(tmp_path / "work", files, CLASSES, Start(), annotator=annotator, learner=learner, budget=4) as loop:
        loop.run(1)
    assert "8 images: 4 not labelled yet, 4 labelled" in run("al-rotate", "status", tmp_path / "work")
    assert run("al-rotate", "report", tmp_path / "work").splitlines()[0] == f"{tmp_path / 'work' / 'report.html'}"
    report = (tmp_path / "work" / "report.html").read_text(encoding="utf-8")
    assert "Round 0: 4 of 8 images" in report
    assert "data:image/" in report


def test_the_doctor_shows_how_to_get_detection(run, environment):
    report = run("al-rotate", "doctor")
    assert re.search(rf"^al_rotate +{re.escape(al_rotate.__version__)}$", report, re.M)
    assert report.endswith(
        f"The core works. To train and run detectors:\n{environment}/bin/python -m al_rotate install-mm\n"
    )
