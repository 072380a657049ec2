from __future__ import annotations

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.logging import HistoryBuffer  # noqa: E402

from al_rotate.detection.openmmlab.faster.histories import WaitingHistory  # noqa: E402


def both(n: int, max_length: int = 1000) -> tuple[HistoryBuffer, WaitingHistory]:
    plain, waiting = HistoryBuffer(max_length=max_length), WaitingHistory([], [], max_length)
    for value in torch.linspace(0, 1, n):
        plain.update(value.item())
        waiting.add(value)
    return plain, waiting


@pytest.mark.parametrize("n", [1, 7, 250])
def test_whoever_reads_sees_every_number(n: int):
    plain, waiting = both(n)
    assert waiting.current() == plain.current() == 1 or n == 1
    assert waiting.mean(5) == pytest.approx(plain.mean(5))
    assert waiting.statistics("max") == plain.statistics("max")
    assert [column.tolist() for column in waiting.data] == [column.tolist() for column in plain.data]


def test_numbers_and_tensors_keep_their_order():
    history = WaitingHistory()
    history.add(torch.tensor([1.0]))
    history.update(2.0, 3)
    history.add(torch.tensor(4.0))
    assert [column.tolist() for column in history.data] == [[1, 2, 4], [1, 3, 1]]


def test_the_oldest_are_dropped():
    plain, waiting = both(30, max_length=8)
    assert waiting.data[0].tolist() == plain.data[0].tolist()
    assert len(waiting.data[0]) == 8


def test_copies_are_plain_and_go_on():
    plain, waiting = both(5)
    for copied in (copy.deepcopy(waiting), pickle.loads(pickle.dumps(waiting))):
        assert type(copied) is HistoryBuffer
        assert copied.data[0].tolist() == plain.data[0].tolist()
        longer = WaitingHistory.of(copied)
        longer.add(torch.tensor(9.0))
        assert longer.data[0].tolist() == [*plain.data[0], 9]
    assert WaitingHistory.of(waiting) is waiting
    assert WaitingHistory.of(None).data[0].tolist() == []
