import pytest
from helpers.loops.workspace import create


@pytest.fixture
def ws(tmp_path):
    with create(tmp_path / "work") as workspace:
        yield workspace


@pytest.fixture
def queried(ws):
    """Round 0 has asked for c, a and b."""
    ws.record_query(ws.begin_round().number, ["c", "a", "b"], [0.9, 0.5, 0.25], "entropy")
    return ws
