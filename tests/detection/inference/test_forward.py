from __future__ import annotations

import time
from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.structures import InstanceData  # noqa: E402
from mmrotate.structures.bbox import RotatedBoxes  # noqa: E402

from al_rotate.detection.inference.forward import Forward  # noqa: E402
from al_rotate.detection.inference.options import OutputOptions  # noqa: E402
from al_rotate.detection.inference.pipeline import batch_by_shape  # noqa: E402
from al_rotate.detection.openmmlab import instance_data  # noqa: E402


class TestRows:
    """Faster than MMEngine's way, and the same."""

    @pytest.fixture
    def instances(self) -> InstanceData:
        generator = torch.Generator().manual_seed(0)
        box = torch.rand((9, 5), generator=generator)
        return InstanceData(bboxes=RotatedBoxes(box), scores=torch.rand(9, generator=generator), labels=torch.arange(9))

    @pytest.mark.parametrize(
        "item",
        [
            torch.tensor([3, 0, 3, 8]),
            torch.zeros(0, dtype=torch.long),
            torch.arange(9) % 2 == 0,
            torch.zeros(9, dtype=torch.bool),
            slice(2, 5),
            4,
        ],
        ids=["rows", "no rows", "mask", "empty mask", "slice", "one"],
    )
    def test_equal_to_mmengines(self, instances: InstanceData, item: Any):
        ours, theirs = instances[item], instance_data.mmengine_rows(instances, item)
        assert ours.keys() == theirs.keys()
        assert isinstance(ours.bboxes, RotatedBoxes)
        assert torch.equal(ours.bboxes.tensor, theirs.bboxes.tensor)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.labels, theirs.labels)

    def test_other_values_go_mmengines_way(self, instances: InstanceData):
        instances.names = list("abcdefghi")
        assert instances[torch.tensor([2, 5])].names == ["c", "f"]


class TestBatches:
    def images(self, *sides: int) -> list[tuple[int, dict[str, Any]]]:
        return [(k, {"inputs": torch.zeros(3, side, side)}) for k, side in enumerate(sides)]

    def places(self, batches: Any) -> list[list[int]]:
        return [[position for position, _ in batch] for batch in batches]

    def test_images_of_one_shape_share_a_batch(self):
        assert self.places(batch_by_shape(self.images(1, 2, 1, 2, 1), 2)) == [[0, 2], [1, 3], [4]]

    def test_only_so_many_wait_for_others_of_their_shape(self):
        """All of different shapes: when eight wait for a batch of two, the first has to go."""
        batches = batch_by_shape(iter(self.images(*range(1, 12))), 2)
        assert self.places(batches) == [[k] for k in range(11)]

    def test_nothing_in_nothing_out(self):
        assert list(batch_by_shape([], 4)) == []


class Doubling(torch.nn.Module):
    """Notes how many threads each pass had."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def test_step(self, data: dict[str, list[Any]]) -> list[Any]:
        self.threads.append(torch.get_num_threads())
        return [*range(len(data["inputs"]))]


@pytest.mark.parametrize("streams", [1, 3])
def test_streams_keep_the_order_and_leave_pytorchs_threads_as_they_were(streams: int, monkeypatch):
    model = Doubling()
    forward = Forward(model, 1, OutputOptions(), torch.device("cpu"), "fp32", None, streams, threads=1)
    monkeypatch.setattr(forward, "_as_arrays", lambda sample: sample)
    before = torch.get_num_threads()
    batches = [[(k, {"inputs": k, "data_samples": k})] * (k % 3 + 1) for k in range(10)]
    results = list(forward.run(batches))
    assert [batch for batch, _ in results] == batches
    assert [outputs for _, outputs in results] == [list(range(k % 3 + 1)) for k in range(10)]
    assert model.threads == [1 if streams > 1 else before] * 10
    assert torch.get_num_threads() == before


def test_a_failing_batch_is_raised(monkeypatch):
    class Failing(Doubling):
        def test_step(self, data: dict[str, list[Any]]) -> list[Any]:
            raise MemoryError("too large")

    before = torch.get_num_threads()
    forward = Forward(Failing(), 1, OutputOptions(), torch.device("cpu"), "fp32", None, 2)
    with pytest.raises(MemoryError, match="too large"):
        list(forward.run([[(0, {"inputs": 0, "data_samples": 0})]] * 3))
    assert torch.get_num_threads() == before


def test_a_batch_that_memory_does_not_hold_is_halved_from_then_on(monkeypatch):
    class Small(torch.nn.Module):
        sizes: ClassVar[list[int]] = []

        def test_step(self, data: dict[str, list[Any]]) -> list[Any]:
            self.sizes.append(len(data["inputs"]))
            if self.sizes[-1] > 3:
                raise torch.OutOfMemoryError
            return data["inputs"]

    forward = Forward(Small(), 1, OutputOptions(), torch.device("cpu"), "fp32", None, 1)
    monkeypatch.setattr(forward, "_as_arrays", lambda sample: sample)
    batches = [[(k, {"inputs": k, "data_samples": k}) for k in range(start, start + 8)] for start in (0, 8)]
    assert [outputs for _, outputs in forward.run(batches)] == [[*range(8)], [*range(8, 16)]]
    assert Small.sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("streams", [2, 4])
def test_an_image_that_memory_does_not_hold_beside_others_waits_for_them(streams: int, monkeypatch):
    class Crowded(torch.nn.Module):
        running, refused = 0, 0

        def test_step(self, data: dict[str, list[Any]]) -> list[Any]:
            type(self).running += 1
            try:
                time.sleep(0.01)
                if self.running > 1 or len(data["inputs"]) > 1:
                    type(self).refused += 1
                    raise torch.OutOfMemoryError
                return data["inputs"]
            finally:
                type(self).running -= 1

    forward = Forward(Crowded(), 1, OutputOptions(), torch.device("cpu"), "fp32", None, streams)
    monkeypatch.setattr(forward, "_as_arrays", lambda sample: sample)
    batches = [[(k, {"inputs": k, "data_samples": k}) for k in range(start, start + 4)] for start in range(0, 24, 4)]
    found = [output for _, outputs in forward.run(batches) for output in outputs]
    assert (found, Crowded.refused > streams) == ([*range(24)], True)


def test_a_single_image_that_memory_does_not_hold_is_an_error():
    class Full(torch.nn.Module):
        def test_step(self, data: dict[str, list[Any]]) -> list[Any]:
            raise torch.OutOfMemoryError("too large")

    forward = Forward(Full(), 1, OutputOptions(), torch.device("cpu"), "fp32", None, 1)
    with pytest.raises(torch.OutOfMemoryError, match="too large"):
        list(forward.run([[(0, {"inputs": 0, "data_samples": 0})] * 2]))
