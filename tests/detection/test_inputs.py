"""Images as folders, files, arrays and functions; broken files; odd but good ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.detectors import close, predict
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import images, synthetic  # noqa: E402
from al_rotate.detection import Detector  # noqa: E402


class TestInputs:
    def test_one_answer_however_images_are_given(self, detector: Detector, scenes):
        files = images.find(scenes.images)
        arrays = {image_id: np.ascontiguousarray(images.read(file)[..., ::-1]) for image_id, file in files.items()}
        expected = predict(detector, scenes.images)
        assert expected.image_ids.tolist() == list(files)
        assert expected.classes == synthetic.CLASSES
        assert expected.n_boxes > 50
        for inputs in (str(scenes.images), list(files.values()), files, arrays.items(), iter(list(files.items()))):
            assert predict(detector, inputs) == expected
        numbered = predict(detector, (array for array in arrays.values()))
        assert numbered.image_ids.tolist() == [str(i) for i in range(16)]
        assert numbered.replace(image_ids=expected.image_ids) == expected

    @pytest.mark.parametrize("which", ["detector", "two_stage"])
    def test_batches_and_threads_change_nothing(self, which: str, request: pytest.FixtureRequest, mixed):
        detector = request.getfixturevalue(which)
        single = predict(detector, mixed, batch_size=1, workers=1, class_scores=True)
        batched = predict(detector, mixed, batch_size=8, workers=3, class_scores=True)
        np.testing.assert_allclose(single.class_scores, batched.class_scores, atol=1e-5)
        assert close(single.replace(class_scores=None), batched.replace(class_scores=None))

    def test_the_order_is_the_one_given(self, detector: Detector, scenes):
        files = dict(reversed(images.find(scenes.images).items()))
        detections = predict(detector, files, batch_size=3)
        assert detections.image_ids.tolist() == list(files)
        assert close(detections, predict(detector, scenes.images).subset(files))

    def test_no_images(self, detector: Detector, tmp_path: Path):
        for out in (None, tmp_path):
            detections = predict(detector, [], out=out)
            assert (len(detections), detections.classes) == (0, synthetic.CLASSES)

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((8, 8), np.uint8), r"uint8 BGR, got uint8 \(8, 8\) for image 'odd'"),
            (np.zeros((8, 8, 4), np.uint8), r"got uint8 \(8, 8, 4\)"),
            (np.zeros((8, 8, 3)), r"got float64 \(8, 8, 3\)"),
            (np.zeros((0, 8, 3), np.uint8), r"got uint8 \(0, 8, 3\)"),
        ],
    )
    def test_other_arrays_are_refused(self, detector: Detector, array: Any, message: str):
        with pytest.raises(ValueError, match=message):
            predict(detector, [("odd", array)])

    def test_other_things_are_refused(self, detector: Detector):
        picture = Image.new("RGB", (64, 64))  # RGB, which an array of it would not tell
        with pytest.raises(TypeError, match="expected image files or arrays, got Image at position 0"):
            predict(detector, [picture])


class TestFiles:
    @pytest.fixture
    def broken(self, scenes, tmp_path: Path) -> dict[str, Path]:
        whole = (scenes.images / "scene_0000.jpg").read_bytes()
        (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
        (tmp_path / "zero.png").touch()
        (tmp_path / "text.jpg").write_text("not an image")
        return {name: tmp_path / name for name in ("truncated.jpg", "zero.png", "text.jpg", "missing.png")}

    def test_unreadable_ones_are_reported_and_the_rest_goes_on(
        self, detector: Detector, scenes, broken, tmp_path: Path
    ):
        good = dict(list(images.find(scenes.images).items())[:3])
        a, b, c = good
        files = {a: good[a], **broken, b: good[b], c: good[c]}
        with pytest.warns(UserWarning, match=r"4 images could not be read, the first truncated\.jpg: .*truncated"):
            detections = predict(detector, files, batch_size=2)
        assert close(detections, predict(detector, good))
        assert {name: reason.split(": ", 1)[0] for name, reason in detections.skipped.items()} == {
            name: str(file) for name, file in broken.items()
        }
        assert "empty file" in detections.skipped["zero.png"]
        assert "not an image" in detections.skipped["text.jpg"]
        assert "No such file" in detections.skipped["missing.png"]
        for _ in range(2):  # streamed, and streamed before
            with pytest.warns(UserWarning, match="4 images could not be read"):
                streamed = predict(detector, files, batch_size=2, out=tmp_path / "out")
            assert (streamed, streamed.skipped) == (detections, detections.skipped)

    def test_nor_are_only_unreadable_ones_fatal(self, detector: Detector, broken, tmp_path: Path):
        for out in (None, tmp_path / "out"):
            with pytest.warns(UserWarning, match="4 images could not be read"):
                detections = predict(detector, broken, out=out, class_scores=True, features=True)
            assert (len(detections), list(detections.skipped)) == (0, list(broken))

    def test_odd_but_good_files_look_as_they_are_shown(self, detector: Detector, tmp_path: Path):
        picture, _, _ = synthetic.render(150, 7)
        picture = picture[:100]  # 150 wide, 100 high
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
        alpha = np.arange(15000, dtype=np.uint8).reshape(100, 150, 1)
        Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "rgba.png")
        grey = picture[..., 0].astype(np.uint16) * 256 + 77
        Image.fromarray(grey).save(tmp_path / "grey.png")
        shown = {
            "grey": np.repeat(picture[..., :1], 3, axis=2),
            "rgba": picture[..., ::-1],
            "turned": np.rot90(picture, -1)[..., ::-1],
        }
        detections = predict(detector, tmp_path)
        assert detections.image_sizes.tolist() == [[150, 100], [150, 100], [100, 150]]
        assert detections.n_boxes > 3
        assert detections == predict(detector, shown.items())
