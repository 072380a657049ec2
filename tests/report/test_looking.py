"""What notebooks show of loops and their tables."""

import pickle
import re

import pandas as pd
import pytest
from helpers.loops.page import CLASSES, make
from helpers.noisy import Start

import al_rotate as al
from al_rotate.report.looking import SHOWN_IMAGES


@pytest.fixture(scope="module")
def loop(scenes, tmp_path_factory):
    with make(tmp_path_factory.mktemp("looking") / "a<b>", scenes) as loop:
        loop.run(1)
        yield loop


def test_a_loop_answers_the_four_questions_and_shows_pictures(loop):
    shown = loop._repr_html_()
    for question in ("better", "cost", "another round", "next"):
        assert question in shown
    assert "a&lt;b&gt;" in shown
    assert "<b>a<b>" not in shown
    assert shown.count("<svg") == SHOWN_IMAGES
    assert len(shown) < 400_000


def test_a_query_is_a_table_with_pictures(loop):
    query = loop.query()
    assert isinstance(query, pd.DataFrame)
    shown = query._repr_html_()
    assert shown.count("<svg") == shown.count("data:image/webp") == 4
    assert all(image_id in shown for image_id in query["image_id"])
    assert re.search(r"Rank 1 of 12", shown)
    assert query.head(1)._repr_html_().count("<svg") == 1
    assert query[query["image_id"] == query["image_id"][2]]._repr_html_().count("<svg") == 1
    assert "<svg" not in query[["score"]]._repr_html_()
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(query)), pd.DataFrame(query))
    assert type(pickle.loads(pickle.dumps(query))) is pd.DataFrame
    assert query.groupby("status").size().sum() == 4
    assert pd.concat([query, query]).shape == (8, 4)


def test_a_table_outlives_its_workspace(scenes, tmp_path):
    with make(tmp_path / "work", scenes) as loop:
        query = loop.query()
    assert query._repr_html_().count("<svg") == 4  # the loop is closed
    (tmp_path / "work").rename(tmp_path / "elsewhere")
    assert query._repr_html_().count("<svg") == 0


def test_a_table_goes_without_pictures_where_files_are_damaged(scenes, tmp_path):
    with make(tmp_path, scenes, detector=Start(taught=4, classes=CLASSES)) as loop:
        query = loop.query()
        assert query._repr_html_().count("<svg") == 4
        (tmp_path / "rounds" / "000" / "detections" / "0.parquet").write_bytes(b"")
        assert query._repr_html_() == pd.DataFrame(query)._repr_html_()


def test_a_ranking_of_ones_own(scenes):
    root, pool, _ = scenes
    detections = pool.replace(scores=[0.5] * pool.n_boxes)
    ranking = al.rank(detections, "entropy")
    table = al.pictured(ranking, root / "pool" / "images", detections)
    shown = table._repr_html_()
    assert shown.count("<svg") == SHOWN_IMAGES
    assert shown.count("<polygon") == 2 * sum(detections[i].n_boxes for i in ranking["image_id"][:SHOWN_IMAGES])
    assert "Rank 1 of 16" in shown
    with pytest.raises(ValueError, match="column image_id"):
        al.pictured(ranking[["score"]], root / "pool" / "images")
    with pytest.raises(ValueError, match="none of 'strange'"):
        al.pictured(ranking.assign(image_id="strange"), root / "pool" / "images")


def test_the_gallery_of_a_loop(loop):
    gallery = loop.gallery(most=5)
    assert (len(gallery), gallery.n_left_out, gallery.title) == (5, 11, "a<b>")
