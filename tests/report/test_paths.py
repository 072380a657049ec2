"""Which parts of a sentence are the folders of somebody's machine, and what a page says of images that moved."""

import pandas as pd
import pytest
from helpers.loops.page import CLASSES, Page, make
from helpers.noisy import NoisyLearner, Start
from PIL import Image

from al_rotate.data import RotatedInstances
from al_rotate.report import Gallery
from al_rotate.report.paths import without_folders


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        (
            "/home/ada/a b/x.png: [Errno 2] No such file or directory: '/home/ada/a b/x.png'",
            "x.png: [Errno 2] No such file or directory: 'x.png'",
        ),
        ("cannot be read: /data/x.tif: not an image (8 bytes)", "cannot be read: x.tif: not an image (8 bytes)"),
        (r"C:\Users\ada\x.png: 'C:\\Users\\ada\\x.png'", "x.png: 'x.png'"),
        (r"\\server\share\x.png: empty file (0 bytes)", "x.png: empty file (0 bytes)"),
        ("tiles/x.png, 3/4 of 1 / 2 / 3: see https://host/a/b", "tiles/x.png, 3/4 of 1 / 2 / 3: see https://host/a/b"),
        ("/x.png: truncated", "/x.png: truncated"),  # in no folder
    ],
)
def test_absolute_paths_become_names(sentence, told):
    assert without_folders(sentence) == told


def test_an_image_that_moved(tmp_path):
    """Also from a folder whose name is quoted differently in Python's own message."""
    for folder in ("plain", 'it\'s: "odd"'):
        file = tmp_path / folder / "gone.png"
        (row,) = Gallery({"gone": file}).to_json()["images"]
        assert row["problem"] == "cannot be read: No such file or directory"
        assert str(tmp_path) not in Gallery({"gone": file})._repr_html_()


def test_a_report_names_no_folder(tmp_path, scenes):
    """What the detector could not read, what was not pushed, and an image that moved since."""
    _, pool, test = scenes
    files = {i: tmp_path / "pool" / f"{i}.png" for i in pool.image_ids}
    (tmp_path / "pool").mkdir()
    for file in files.values():
        Image.new("RGB", (64, 64)).save(file)
    reason = f"{files['scene_0002']}: [Errno 13] Permission denied: '{files['scene_0002']}'"

    class Learner(NoisyLearner):
        def _detect(self, weights, ids, view):
            found = super()._detect(weights, ids, view)
            return found.replace(skipped=dict.fromkeys(found.skipped, reason))

    learner = Learner(RotatedInstances.concat([pool, test]), unreadable=["scene_0002"])
    with make(tmp_path / "work", scenes, images=files, learner=learner, detector=Start(4, CLASSES)) as loop:
        loop.query()
        files["scene_0000"].unlink()
        round_folder = tmp_path / "work" / "rounds" / "000"
        note = {"image_id": "scene_0002", "action": "left out", "detail": f"not pushed, cannot be read: {reason}"}
        pd.DataFrame([note]).to_csv(round_folder / "account.csv", index=False)
        page = Page(loop.report())
    told = "scene_0002.png: [Errno 13] Permission denied: 'scene_0002.png'"
    assert f"Could not be read: scene_0002 ({told})" in page.text
    assert f"not pushed, cannot be read: {told}" in page.text
    assert page.gallery["scene_0000"]["problem"] == "cannot be read: No such file or directory"
    assert str(tmp_path) not in page.source
