"""Remembered images: the same batches, bit for bit, with fewer files read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.dataset import Compose, pseudo_collate  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from al_rotate.data import dataset, images  # noqa: E402
from al_rotate.detection import configs  # noqa: E402
from al_rotate.detection.openmmlab.components import RotatedInstancesDataset  # noqa: E402
from al_rotate.detection.openmmlab.faster import remembered  # noqa: E402
from al_rotate.detection.openmmlab.faster.remembered import Memory, RememberingPipeline, free_bytes  # noqa: E402

LOAD = [
    {"type": "mmrotate.LoadImageAsShown"},
    {"type": "mmdet.LoadAnnotations", "with_bbox": True, "box_type": "qbox"},
    {"type": "mmrotate.ConvertBoxType", "box_type_mapping": {"gt_bboxes": "rbox"}},
]
RESIZE = {"type": "mmdet.Resize", "scale": (96, 96), "keep_ratio": True}
FLIP = {"type": "mmdet.RandomFlip", "prob": 0.75, "direction": ["horizontal", "vertical", "diagonal"]}
ROTATE = {"type": "mmrotate.RandomRotate", "prob": 0.5, "angle_range": 180}
PACK = {"type": "mmdet.PackDetInputs"}


@pytest.fixture(scope="module")
def written(scenes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    configs.load("rotated_rtmdet_tiny-3x-dota")  # registers the transforms
    labels = scenes.labels.subset(scenes.labels.image_ids[:6])
    return dataset.write(
        tmp_path_factory.mktemp("data") / "train.parquet", images.find(scenes.images), labels, labels.classes
    )


def build(path: Path, pipeline: list[dict[str, Any]], **settings: Any) -> RotatedInstancesDataset:
    return RotatedInstancesDataset(ann_file=str(path), metainfo={"classes": ("a", "b")}, pipeline=pipeline, **settings)


def epochs(data: RotatedInstancesDataset, n: int = 3) -> list[Any]:
    np.random.seed(0)  # noqa: NPY002, what the transforms draw from
    return [data[i] for _ in range(n) for i in (3, 0, 5, 1)]


def same(a: Any, b: Any) -> bool:
    one, other = a["data_samples"], b["data_samples"]
    boxes = [sample.gt_instances.bboxes.tensor for sample in (one, other)]
    facts = [(s.img_id, s.ori_shape, s.img_shape, s.scale_factor, s.get("flip")) for s in (one, other)]
    return torch.equal(a["inputs"], b["inputs"]) and torch.equal(*boxes) and facts[0] == facts[1]


def test_batches_are_the_same(written: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline = [*LOAD, RESIZE, FLIP, ROTATE, PACK]
    plain, remembering = build(written, pipeline, remember=0), build(written, pipeline)
    assert isinstance(remembering.pipeline, RememberingPipeline)
    read: list[Any] = []
    plain_read = images.read
    monkeypatch.setattr(images, "read", lambda path, *a: read.append(path) or plain_read(path, *a))
    expected = epochs(plain)
    assert len(read) == 12
    found = epochs(remembering)
    assert len(read) == 12 + 4
    assert all(map(same, found, expected))
    assert len({sample["data_samples"].get("flip_direction") for sample in found}) > 2


def test_workers_share_it(written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    log = tmp_path / "read"
    plain_read = images.read

    def read(path: Any, *arguments: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{path}\n")
        return plain_read(path, *arguments)

    monkeypatch.setattr(images, "read", read)
    data = build(written, [*LOAD, RESIZE, PACK])
    for _ in range(3):  # new workers each time, and another one for each image
        loader = DataLoader(data, 1, num_workers=2, collate_fn=pseudo_collate, multiprocessing_context="fork")
        assert len(list(loader)) == 6
    assert len(log.read_text().splitlines()) == 6
    assert len(epochs(data)) == 12
    assert len(log.read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("pipeline", "settings"),
    [
        ([*LOAD, FLIP, RESIZE, PACK], {}),  # drawn before it is resized
        ([*LOAD, {"type": "mmdet.RandomResize", "scale": [(64, 64), (96, 96)]}, PACK], {}),
        ([*LOAD, PACK], {}),  # not resized at all
        ([*LOAD, RESIZE, PACK], {"test_mode": True}),
        ([*LOAD, RESIZE, PACK], {"remember": 1 << 60}),  # more than the system can promise
    ],
)
def test_pipelines_that_remember_nothing(written: Path, pipeline: list[dict[str, Any]], settings: dict[str, Any]):
    assert type(build(written, pipeline, **settings).pipeline) is Compose


def test_room_is_kept_to(written: Path, monkeypatch: pytest.MonkeyPatch):
    data = build(written, [*LOAD, RESIZE, PACK], remember=2 * 96 * 96 * 3 + 10_000)
    read: list[Any] = []
    plain_read = images.read
    monkeypatch.setattr(images, "read", lambda path, *a: read.append(path) or plain_read(path, *a))
    epochs(data)
    assert len(read) == 2 + 3 * 2  # two of four images stay


def test_memory():
    memory = Memory(3, 1000)
    assert memory.get(1) is None
    memory.put(1, {"a": np.arange(5)})
    memory.put(1, "another")
    memory.put(0, bytes(900))  # no room
    memory.put(2, "short")
    copy = memory.get(1)
    copy["a"][:] = 0  # a copy that may be changed
    assert memory.get(1)["a"].tolist() == [0, 1, 2, 3, 4]
    assert memory.get(0) is None
    assert memory.get(2) == "short"
    elsewhere = pickle.loads(pickle.dumps(memory))
    elsewhere.put(0, "short")
    assert [elsewhere.get(i) for i in range(3)] == [None, None, None]
    assert 0 < free_bytes() < 1 << 50


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, 8000 * 1024),
        ("0::/\n", {"memory.max": 5000, "memory.current": 2000}, 3000),
        ("0::/\n", {"memory.max": "max", "memory.current": 2000}, 8000 * 1024),
        ("0::/\n", {"memory.max": 5000, "memory.current": 5001}, 0),
        # a job of SLURM or systemd: its own limit, and those of the groups around it
        ("0::/job/step\n", {"job/step/memory.max": 9000, "job/step/memory.current": 2000}, 7000),
        (
            "0::/job/step\n",
            {
                **{"job/step/memory.max": 9000, "job/step/memory.current": 2000},
                **{"job/memory.max": 8000, "job/memory.current": 7000},
            },
            1000,
        ),
        # a path of the host's, which a container does not see
        ("0::/docker/0123\n", {"memory.max": 5000, "memory.current": 2000}, 3000),
        # version 1: of each controller a tree
        (
            "4:memory:/job\n2:cpu,cpuacct:/other\n0::/\n",
            {"memory/job/memory.limit_in_bytes": 6000, "memory/job/memory.usage_in_bytes": 2000},
            4000,
        ),
        (
            "4:memory:/docker/0123\n",
            {"memory/memory.limit_in_bytes": 1 << 62, "memory/memory.usage_in_bytes": 2000},
            8000 * 1024,
        ),
    ],
)
def test_free_memory_is_what_all_groups_leave(tmp_path: Path, groups: str, files: dict[str, Any], expected: int):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, value in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    assert free_bytes(tmp_path) == expected


def test_free_memory_is_unknown_where_the_system_does_not_say(tmp_path: Path):
    assert free_bytes(tmp_path) == 0


def test_processes_of_a_machine_share_the_room(monkeypatch: pytest.MonkeyPatch):
    rooms: list[int] = []
    monkeypatch.setattr(remembered, "free_bytes", lambda: 4_000_000)
    monkeypatch.setattr(remembered, "Memory", lambda count, room: rooms.append(room))
    pipeline = Compose([*LOAD, RESIZE])
    for name, value in {
        "SLURM_PROCID": "5",
        "SLURM_STEP_NUM_TASKS": "8",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    }.items():
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        monkeypatch.setenv(name, value)
    remembered.remembering(pipeline, 1, (type(pipeline.transforms[0]),))
    assert rooms == [250_000]  # of a quarter
