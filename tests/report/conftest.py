import pytest
from helpers.loops.page import Page, make

from al_rotate.data import synthetic


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """The folder, and the labels of pool and test set."""
    folder = tmp_path_factory.mktemp("scenes")
    pool = synthetic.write_dataset(folder / "pool", 16, 64, 5)
    test = synthetic.write_dataset(folder / "test", 8, 64, 8, prefix="test")
    return folder, pool, test


@pytest.fixture(scope="session")
def done(scenes, tmp_path_factory):
    """A workspace after two rounds, its history, and its report."""
    folder = tmp_path_factory.mktemp("done") / "harbours"
    with make(folder, scenes) as loop:
        history = loop.run(2)
        return folder, history, Page(loop.report())
