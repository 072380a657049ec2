"""The page's pictures: curves, test images, queried images."""

import numpy as np
from helpers.loops.page import CLASSES, make
from helpers.noisy import Start

from al_rotate.data import SHOWN_SCORE, RotatedInstances
from al_rotate.report import figures
from al_rotate.workspace import Workspace


def test_curves(done):
    _, history, _ = done
    images, hours, classes = figures.curves_figure(history, CLASSES).axes
    assert images.lines[0].get_xydata().tolist() == history[["n_labelled", "mAP"]].to_numpy(float).tolist()
    costs = np.column_stack([history["cost"] / 3600, history["mAP"]])
    assert hours.lines[0].get_xydata().tolist() == costs.tolist()
    assert [line.get_label() for line in classes.lines] == [n for n in CLASSES if f"AP/{n}" in history]
    assert figures.curves_figure(history.drop(columns="mAP"), CLASSES) is None
    assert figures.curves_figure(history.assign(mAP=np.nan), CLASSES) is None


def test_the_same_test_images_after_each_round(done, scenes):
    folder, *_ = done
    with Workspace.open(folder, read_only=True) as workspace:
        figure = figures.evaluation_figure(workspace)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    first, second = titles[:4], titles[4:]
    assert [title.replace("round 0: ", "round 1: ") for title in first] == second
    labels = scenes[2].subset(title.removeprefix("round 0: ") for title in first)
    assert {*labels.labels.tolist()} == {*scenes[2].labels.tolist()}  # every class there is to show
    for number, row in ((0, figure.axes[:4]), (1, figure.axes[4:])):
        detections = RotatedInstances.load(folder / "rounds" / f"00{number}" / "test_detections")
        for ax, image_id in zip(row, labels.image_ids, strict=True):
            image = detections[image_id]
            drawn = [len(lines.get_segments()) for lines in ax.collections[1::2]]  # each outline's bright half
            assert drawn == [labels[image_id].n_boxes, int((image.scores >= SHOWN_SCORE).sum())]
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {CLASSES[k] for k in labels.labels} <= named


def test_no_more_than_four_rounds_of_test_images(tmp_path, scenes):
    with make(tmp_path, scenes, budget=3) as loop:
        loop.run(5)
        rows = [ax.get_title(loc="left").split(":")[0] for ax in figures.evaluation_figure(loop.workspace).axes[::4]]
    assert rows == ["round 0", "round 1", "round 3", "round 4"]


def test_what_is_in_the_pool(done, tmp_path, scenes):
    folder, *_ = done
    with Workspace.open(folder, read_only=True) as workspace:
        classes, sizes = figures.pool_figure(workspace).axes
        labels = workspace.labels()
        detections = RotatedInstances.load(folder / "rounds" / "001" / "detections")
    shown = int((detections.scores >= SHOWN_SCORE).sum())
    named = [text.get_text() for text in classes.get_legend().get_texts()]
    assert named == [f"labels: {labels.n_boxes} boxes", f"detections on the pool: {shown} boxes"]
    assert len(sizes.patches) == 2
    with make(tmp_path, scenes) as loop:
        loop.workspace.begin_round()
        assert figures.pool_figure(loop.workspace) is None


def test_the_query_is_marked_among_the_features(tmp_path, scenes):
    with make(tmp_path, scenes, detector=Start(taught=40, classes=CLASSES)) as loop:
        loop.query()
        for shard in (tmp_path / "rounds" / "000" / "detections").glob("*.parquet"):
            part = RotatedInstances.load(shard)
            part.replace(image_features=np.arange(3 * len(part)).reshape(-1, 3) + part.n_boxes).save(shard)
        *_, features = figures.pool_figure(loop.workspace).axes
    pool, queried = features.collections
    assert (len(pool.get_offsets()), len(queried.get_offsets())) == (16, 4)
    assert {*map(tuple, queried.get_offsets().tolist())} <= {*map(tuple, pool.get_offsets().tolist())}
