"""`make evidence-smoke` passes as it is, and fails when selection is replaced by chance."""

import pandas as pd
import pytest

from experiments.comparison.run import run
from experiments.evidence import smoke
from experiments.evidence.report import write_report


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(smoke.CONFIG, folder / "work", None, 2, results=folder / "results")


def test_selection_selects(planted):
    smoke.check(planted[1])


@pytest.mark.parametrize("name", smoke.GUIDED)
def test_random_sampling_under_another_name_is_noticed(planted, name):
    table = planted[1]
    random = table[table["name"] == "random"].assign(name=name)
    with pytest.raises(AssertionError, match=name):
        smoke.check(pd.concat([table[table["name"] != name], random], ignore_index=True))


def test_the_page_has_every_figure(planted):
    folder, _ = planted
    page = write_report([folder / "results" / "planted.parquet"], None).read_text()
    for name in ("curves", "seeds", "differences", "penalties", "classes", "likeness"):
        assert f'src="planted/{name}.jpg"' in page
        assert (folder / "results" / "planted" / f"{name}.jpg").stat().st_size > 5000
    assert "calibrated-entropy" in page
