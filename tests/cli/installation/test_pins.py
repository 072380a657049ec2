"""One file of tested versions, which fits the metadata, the set-up and the doctor."""

import importlib.util
import re
import sys
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from al_rotate.cli.installation import doctor, facts, install_mm, pins
from al_rotate.cli.installation.pins import CONSTRAINTS, VERSIONS, pin, read_constraints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names_in(requirements_file):
    lines = (ROOT / "requirements" / requirements_file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


@pytest.fixture(scope="module")
def setup_env():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools" / "setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reading(tmp_path):
    file = tmp_path / "constraints.txt"
    file.write_text("# tested\nnumpy==2.2.6\n\ntorch==2.11.0  # with torchvision\n")
    assert read_constraints(file) == {"numpy": "2.2.6", "torch": "2.11.0"}


def test_lines_for_other_pythons_are_skipped(tmp_path):
    file = tmp_path / "constraints.txt"
    file.write_text('numpy==2.2.6; python_version < "3.14"\nnumpy==2.3.5; python_version >= "3.14"\ntqdm==4.67.1\n')
    assert read_constraints(file, (3, 9)) == read_constraints(file, (3, 13)) == {"numpy": "2.2.6", "tqdm": "4.67.1"}
    assert read_constraints(file, (3, 14)) == {"numpy": "2.3.5", "tqdm": "4.67.1"}
    file.write_text('numpy==2.2.6; sys_platform == "linux"\n')
    with pytest.raises(ValueError, match="expected a marker like python_version"):
        read_constraints(file)


def test_every_python_pins_the_same_packages():
    (_, first), (_, last) = pins.PYTHONS
    assert {frozenset(read_constraints(python=(3, minor))) for minor in range(first, last + 1)} == {frozenset(VERSIONS)}


def test_pinning():
    assert pin("numpy") == f"numpy=={VERSIONS['numpy']}"
    assert pin("torch", "torchvision") == f"torch=={VERSIONS['torch']} torchvision=={VERSIONS['torchvision']}"
    with pytest.raises(KeyError, match="onedl-mmpose"):
        pin("onedl-mmpose")


def test_every_requirement_is_pinned_within_its_range_and_nothing_else_is():
    ranges = [Requirement(line) for line in [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values())]]
    for requirement in ranges:
        assert requirement.specifier.contains(VERSIONS[requirement.name]), requirement
    detector = {*install_mm.TORCH, "onedl-mmcv", *install_mm.MM, *install_mm.BUILD_TOOLS, *doctor.OPENCVS}
    others = detector | {*names_in("experiments.txt")}
    assert {requirement.name for requirement in ranges} | others == {*VERSIONS}


def test_the_doctor_repairs_with_pinned_packages():
    assert {*facts.CORE.values()} == {Requirement(line).name for line in PROJECT["dependencies"]}
    assert {*doctor.FORKS.values()} == {"onedl-mmcv", *install_mm.MM}
    assert VERSIONS["opencv-python"] == VERSIONS["opencv-python-headless"] == doctor.OPENCV_VERSION


def test_the_set_up_installs_by_the_same_file(setup_env):
    assert setup_env.CONSTRAINTS.samefile(CONSTRAINTS)
    assert {*setup_env.EXTRAS.split(",")} == {*EXTRAS}
    for file in (ROOT / "requirements").glob("*.txt"):
        (constraints,) = re.findall(r"^-c (.*)", file.read_text(encoding="utf-8"), re.M)
        assert (file.parent / constraints).samefile(CONSTRAINTS)
        assert {*names_in(file.name)} <= {*VERSIONS}


def test_the_supported_pythons_are_the_same_everywhere(setup_env):
    (_, first), (_, last) = pins.PYTHONS
    assert setup_env.SUPPORTED == pins.PYTHONS
    assert PROJECT["requires-python"] == f">=3.{first},<3.{last + 1}"
    minors = [re.search(r"Python :: 3\.(\d+)", line) for line in PROJECT["classifiers"]]
    assert [int(match[1]) for match in minors if match] == [*range(first, last + 1)]
