import pytest
from helpers.loops.loop import make


@pytest.fixture
def loop(tmp_path):
    with make(tmp_path / "work") as made:
        yield made
