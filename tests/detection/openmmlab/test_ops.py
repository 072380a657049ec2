"""Detectors without compiled ops, in a process of their own: as good as with them, or refused with what is needed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from helpers.detectors import RTMDET  # noqa: E402

import al_rotate as al  # noqa: E402
from al_rotate.detection.openmmlab import ops  # noqa: E402

ALL_BOXES = {"model.test_cfg.score_thr": 1e-4}
WITHOUT = """
import pickle, sys
import al_rotate as al
from al_rotate.detection.openmmlab import ops
before = ops.in_use()
arguments, images, all_boxes, result = pickle.load(open(sys.argv[1], "rb"))
trained = al.finetune(**arguments)
detector = al.Detector(trained.config, trained.checkpoint, engine="torch", precision="fp32", cfg_options=all_boxes)
found = detector.predict(images)
try:
    al.Detector("oriented-rcnn-le90_r50_fpn_1x_dota", classes=["a"])
except ops.OpsMissing as error:
    refusal = str(error)
pickle.dump((before, ops.in_use(), trained.metrics, found, refusal), open(result, "wb"))
"""


@pytest.fixture(scope="module")
def quick(quick: dict[str, Any]) -> dict[str, Any]:
    """The quick training, ended where its loss is large."""
    return {**quick, "cfg_options": {**quick["cfg_options"], "train_cfg.max_iters": 5}}


@pytest.fixture(scope="module")
def without(quick: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    folder = tmp_path_factory.mktemp("without")
    given = ({**quick, "work_dir": folder / "work"}, quick["images"], ALL_BOXES, folder / "result")
    (folder / "given").write_bytes(pickle.dumps(given))
    process = run(WITHOUT, str(folder / "given"), AL_ROTATE_OPS="python")
    assert process.returncode == 0, process.stderr
    return pickle.loads((folder / "result").read_bytes())


def run(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(al.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=env, capture_output=True, text=True)


def test_a_training_and_its_detections_are_those_of_compiled_ops(
    quick: dict[str, Any], without: tuple[Any, ...], tmp_path: Path
):
    assert ops.in_use() == "compiled"
    assert without[:2] == ("python", "python")
    trained = al.finetune(**quick, work_dir=tmp_path)
    assert without[2] == pytest.approx(trained.metrics, rel=1e-4)
    options = {"engine": "torch", "precision": "fp32", "cfg_options": ALL_BOXES}
    expected, found = al.Detector(trained.config, trained.checkpoint, **options).predict(quick["images"]), without[3]
    assert expected.n_boxes > 20
    assert found.offsets.tolist() == expected.offsets.tolist()
    torch.testing.assert_close(torch.tensor(found.boxes), torch.tensor(expected.boxes), atol=0.02, rtol=1e-3)
    torch.testing.assert_close(torch.tensor(found.scores), torch.tensor(expected.scores), atol=1e-3, rtol=0)


def test_two_stage_models_say_what_they_need(without: tuple[Any, ...]):
    assert without[4].startswith("FasterRCNN uses RoIAlignRotated, and mmcv's ops are not compiled here")
    assert "apt-get install g++ python3-dev" in without[4]
    assert "`AL_ROTATE_OPS=compiled al-rotate install-mm`" in without[4]


def test_compiled_ops_refuse_nothing():
    ops.require(al.Detector(RTMDET, classes=["a"]).model)


def test_an_mmcv_without_its_extension(tmp_path: Path):
    """Ops are found where mmcv has none, unless compiled ones are asked for; other modules of mmcv are not touched."""
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    look = "import al_rotate.detection, mmcv._ext as e; print(e.box_iou_rotated.__module__); e.roi_align_forward()"
    process = run(look, PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path(al.__file__).parents[1])]))
    assert process.stdout == "al_rotate.detection.openmmlab.pytorch_ops\n"
    assert "OpsMissing: mmcv's op roi_align_forward was called and is not compiled here" in process.stderr
    path = os.pathsep.join([str(tmp_path), str(Path(al.__file__).parents[1])])
    process = run(look, PYTHONPATH=path, AL_ROTATE_OPS="compiled")
    assert "ModuleNotFoundError: No module named 'mmcv._ext'" in process.stderr


def test_another_word():
    process = run("import al_rotate.detection, mmcv.ops", AL_ROTATE_OPS="pyhton")
    assert "ValueError: expected AL_ROTATE_OPS to be python, compiled or empty, got 'pyhton'" in process.stderr
