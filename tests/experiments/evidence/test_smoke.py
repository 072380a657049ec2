"""`make evidence-smoke`: passes as it is, and fails when selection is replaced by chance."""

import evidence_smoke
import pytest
from compare_strategies import run
from report_comparison import write


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(evidence_smoke.CONFIG, folder / "work", None, 2, results=folder / "results")


def test_selection_selects(planted):
    evidence_smoke.check(planted[1])


@pytest.mark.parametrize("name", evidence_smoke.GUIDED)
def test_chance_under_another_name_is_found_out(planted, name):
    table = planted[1]
    swapped = table[table["name"] != name].copy()
    posing = table[table["name"] == "random"].assign(name=name)
    with pytest.raises(AssertionError, match=name):
        evidence_smoke.check(pd_concat(swapped, posing))


def test_the_page_has_every_figure(planted):
    folder, _ = planted
    page = write([folder / "results" / "planted.parquet"], None).read_text()
    for name in ("curves", "seeds", "differences", "penalties", "classes", "likeness"):
        assert f'src="planted/{name}.jpg"' in page
        assert (folder / "results" / "planted" / f"{name}.jpg").stat().st_size > 5000
    assert "calibrated-entropy" in page


def pd_concat(*tables):
    import pandas as pd

    return pd.concat(tables, ignore_index=True)
