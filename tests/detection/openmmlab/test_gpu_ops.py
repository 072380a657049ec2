"""Devices for which mmcv's ops are not compiled.

One is pretended, in a process of its own: mmcv's ops end on the CPU as they do on such a GPU. And one is real: on the
device "meta", whose tensors hold no numbers, mmcv's compiled ops do not run.
"""

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

from helpers.detectors import MANY_BOXES, resnet18_options  # noqa: E402
from mmcv.ops import box_iou_rotated  # noqa: E402

import al_rotate as al  # noqa: E402
from al_rotate.detection import configs, models  # noqa: E402
from al_rotate.detection.openmmlab import gpu_ops, ops  # noqa: E402

NAMES = [
    "rotated-fcos-le90_r50_fpn_1x_dota",
    "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
    "s2anet-le135_r50_fpn_1x_dota",
]
TWO_STAGE = "oriented-rcnn-le90_r50_fpn_1x_dota"
META = torch.device("meta")
PRETENDED = """
import pickle, sys
import al_rotate.detection, mmcv._ext as extension

def broken(name):
    def op(*arguments, **options):
        raise RuntimeError(f"{name}_impl: implementation for device cpu not found.\\n")
    return op

if sys.argv[3] == "broken":
    for name in dir(extension):
        if not name.startswith(("_", "get_")):
            setattr(extension, name, broken(name))

import torch
import al_rotate as al
from al_rotate.detection.openmmlab import gpu_ops, ops
from mmcv.ops import nms_quadri

gpu_ops.INTERCEPTED.add("cpu")

torch.set_num_threads(1)
found, (settings, images) = {}, pickle.load(open(sys.argv[1], "rb"))
for name, options in settings.items():
    torch.manual_seed(0)
    found[name] = al.Detector(name, device="cpu", cfg_options=options, precision="fp32", engine="torch").predict(images)
refusals = []
for call in (lambda: al.Detector(TWO_STAGE, device="cpu"), lambda: nms_quadri(torch.rand(2, 8), torch.rand(2), 0.5)):
    try:
        call()
    except ops.OpsMissing as error:
        refusals.append(str(error))
pickle.dump((gpu_ops.runs_on(torch.device("cpu")), found, refusals), open(sys.argv[2], "wb"))
""".replace("TWO_STAGE", repr(TWO_STAGE))


@pytest.fixture(scope="module")
def outcomes(mixed: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("pretended")
    settings = {name: {**resnet18_options(name), **MANY_BOXES} for name in NAMES}
    (folder / "given").write_bytes(pickle.dumps((settings, {name: mixed[name] for name in list(mixed)[:3]})))
    path = os.pathsep.join([str(Path(al.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    for kind in ("broken", "sound"):
        command = [sys.executable, "-c", PRETENDED, str(folder / "given"), str(folder / kind), kind]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return {kind: pickle.loads((folder / kind).read_bytes()) for kind in ("broken", "sound")}


@pytest.mark.parametrize("name", NAMES)
def test_one_stage_models_detect_the_same(outcomes: dict[str, Any], name: str):
    found, expected = (outcomes[kind][1][name] for kind in ("broken", "sound"))
    assert expected.n_boxes > 20
    assert found.offsets.tolist() == expected.offsets.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(torch.tensor(found.boxes), torch.tensor(expected.boxes), atol=0.02, rtol=1e-3)
    torch.testing.assert_close(torch.tensor(found.scores), torch.tensor(expected.scores), atol=1e-4, rtol=0)


def test_what_has_no_replacement_says_what_to_do(outcomes: dict[str, Any]):
    assert outcomes["sound"][0] is True
    assert outcomes["sound"][2] == []
    assert outcomes["broken"][0] is False
    layers, op = outcomes["broken"][2]
    assert layers.startswith("FasterRCNN uses RoIAlignRotated, and mmcv's ops are not compiled for cpu")
    assert op.startswith("mmcv's op nms_quadri is not compiled for cpu. With a C++ compiler")


@pytest.fixture(scope="module")
def two_stage() -> Any:
    return models.build(configs.load(TWO_STAGE, resnet18_options(TWO_STAGE)), 2)


def test_a_device_is_tried(two_stage: Any):
    gpu_ops.install()
    assert gpu_ops.runs_on(torch.device("cpu"))
    assert not gpu_ops.runs_on(META)
    extension = sys.modules["mmcv._ext"]
    before = extension.nms_rotated
    gpu_ops.install()
    assert extension.nms_rotated is before


@pytest.mark.parametrize(
    ("says", "missing"),
    [
        ("box_iou_rotated_impl: implementation for device cuda:0 not found.\n", True),
        ("CUDA error: no kernel image is available for execution on the device", True),
        ("box_iou_rotated is not compiled with GPU support", True),
        ("Not compiled with GPU support", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("CUDA out of memory. Tried to allocate 2.00 MiB", False),
    ],
)
def test_ops_are_missing_only_where_the_error_says_so(says: str, missing: bool, monkeypatch: pytest.MonkeyPatch):
    def op(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(says)

    gpu_ops.runs_on.cache_clear()
    monkeypatch.setattr(sys.modules["mmcv._ext"], "box_iou_rotated", op)
    try:
        if missing:
            assert not gpu_ops.runs_on(torch.device("cpu"))
        else:
            with pytest.raises(RuntimeError, match=says[:20]):
                gpu_ops.runs_on(torch.device("cpu"))
    finally:
        monkeypatch.undo()
        gpu_ops.runs_on.cache_clear() if missing else None  # an error is not remembered
    assert gpu_ops.runs_on(torch.device("cpu"))


def test_only_ops_on_a_gpu_are_tried(monkeypatch: pytest.MonkeyPatch):
    """Elsewhere mmcv answers itself: on the CPU, and on devices of other makers."""
    gpu_ops.install()
    monkeypatch.setattr(gpu_ops, "runs_on", lambda device: pytest.fail("it was tried"))
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0, 0.0]])
    assert box_iou_rotated(box, box).tolist() == [[1.0]]
    with pytest.raises(RuntimeError, match=r"meta.* not found"):
        box_iou_rotated(box.to(META), box.to(META))


def test_auto_takes_the_cpu_where_ops_are_missing_and_says_so(two_stage: Any):
    with pytest.warns(
        UserWarning, match=r"RoIAlignRotated, and mmcv's ops are not compiled for meta.*It runs on the CPU"
    ):
        assert gpu_ops.place(two_stage, META, asked=False) == torch.device("cpu")
    with pytest.raises(ops.OpsMissing, match=r"With nvcc of CUDA .*al-rotate install-mm.*with device='cpu', or"):
        gpu_ops.place(two_stage, META, asked=True)
    assert gpu_ops.place(two_stage, torch.device("cpu"), asked=True) == torch.device("cpu")


def test_one_stage_models_go_where_they_are_wanted():
    for name in NAMES:
        model = models.build(configs.load(name, resnet18_options(name)), 2)
        assert gpu_ops.place(model, META, asked=False) == META
