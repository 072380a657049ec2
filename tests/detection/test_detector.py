from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import MANY_BOXES, RTMDET, predict

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate import RotatedInstances, boxes  # noqa: E402
from al_rotate.data import synthetic  # noqa: E402
from al_rotate.data.views import View  # noqa: E402
from al_rotate.detection import Detector, PredictOptions, configs  # noqa: E402
from al_rotate.detection.checkpoints import read_checkpoint  # noqa: E402
from al_rotate.detection.inference import shards as shards_module  # noqa: E402
from al_rotate.detection.inference.shards import Shards  # noqa: E402


class TestConstruction:
    def test_random_weights_are_silent_and_the_configs_own(self, capfd: pytest.CaptureFixture[str]):
        detector = Detector(RTMDET, device="cpu", cfg_options={"model.backbone.init_cfg": None})
        assert detector.checkpoint is None
        assert detector.classes == configs.dataset_classes(detector.config)
        assert not any(isinstance(part, torch.nn.SyncBatchNorm) for part in detector.model.modules())
        assert float(detector.model.bbox_head.rtm_cls[0].bias.detach()[0]) == pytest.approx(
            -np.log(99)
        )  # bias_prob 0.01
        assert capfd.readouterr() == ("", "")

    def test_classes_come_from_the_checkpoint(self, finetuned):
        assert Detector(finetuned.config, finetuned.checkpoint, "cpu").classes == synthetic.CLASSES

    def test_another_configs_checkpoint_is_refused(self, finetuned):
        with pytest.raises(ValueError, match=r"expected a checkpoint of this config's model, .* the config\.py in the"):
            Detector(RTMDET, finetuned.checkpoint, "cpu")

    def test_weights_that_nobody_published(self, finetuned):
        with pytest.raises(ValueError, match="expected a config whose weights MMRotate publishes, got config"):
            Detector(finetuned.config, "zoo", "cpu")

    def test_saved_and_read_again(self, detector: Detector, finetuned, tmp_path: Path):
        path = detector.save(tmp_path / "saved.pth")
        saved, kept = read_checkpoint(path), read_checkpoint(finetuned.checkpoint)
        assert saved.classes == kept.classes
        assert all(torch.equal(saved.state[name], kept.state[name]) for name in kept.state)


class TestOptions:
    def test_as_one_object_as_keywords_or_as_both(self, detector: Detector, scenes, tmp_path: Path):
        options = PredictOptions(progress=False, score_thr=0.05, class_scores=True)
        expected = detector.predict(scenes.images, options)
        assert expected.class_scores is not None
        assert detector.predict(scenes.images, progress=False, score_thr=0.05, class_scores=True) == expected
        assert detector.predict(scenes.images, options, out=tmp_path) == expected
        assert RotatedInstances.concat(list(detector.stream(scenes.images, options))) == expected
        (view,) = detector.predict_views(scenes.images, [View()], options=options)
        assert view.replace(skipped={}) == expected
        assert detector.predict_scenes(scenes.images, options=options).class_scores is not None
        with pytest.raises(TypeError, match="batch_sise"):
            detector.predict(scenes.images, batch_sise=4)

    def test_score_thr_keeps_the_better_boxes(self, detector: Detector, scenes):
        every = predict(detector, scenes.images)
        threshold = float(np.median(every.scores))
        detections = predict(detector, scenes.images, score_thr=threshold)
        assert 0 < detections.n_boxes < every.n_boxes
        assert detections == every.where(every.scores >= threshold)

    def test_score_thr_cannot_bring_back_what_the_config_drops(self, detector: Detector, two_stage: Detector):
        with pytest.raises(
            ValueError, match=r"at least the config's 0\.01, got 0\.001; .*'model\.test_cfg\.score_thr'"
        ):
            predict(detector, [], score_thr=0.001)
        with pytest.raises(ValueError, match=r"0\.05, got 0\.001; .*'model\.test_cfg\.rcnn\.score_thr': 0\.001"):
            predict(two_stage, [], score_thr=0.001)

    def test_bfloat16_is_close(self, detector: Detector, finetuned, scenes):
        exact = predict(detector, scenes.images, features=True)
        rough = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES, precision="bf16")
        detections = predict(rough, scenes.images, features=True)
        assert not np.array_equal(detections.image_features, exact.image_features)
        np.testing.assert_allclose(detections.image_features, exact.image_features, rtol=0.05, atol=0.05)
        # So short a training may leave boxes of a million pixels, which are not close to anything.
        sound = exact.where((exact.scores > 0.05) & (exact.boxes[:, 2:4] < 128).all(axis=1))
        hits = [
            boxes.iou(image.boxes, detections[image_id].boxes).max(axis=1, initial=0) > 0.8 for image_id, image in sound
        ]
        assert np.concatenate(hits).mean() > 0.9
        assert predict(detector, scenes.images, features=True) == exact  # and nothing of it stays behind

    def test_an_unknown_precision_is_refused(self):
        with pytest.raises(ValueError, match="precision auto, fp32 or bf16, got 'fp16'"):
            Detector(RTMDET, precision="fp16")  # type: ignore[arg-type]


@pytest.fixture
def diverged(finetuned) -> Detector:
    detector = Detector(finetuned.config, finetuned.checkpoint, "cpu", MANY_BOXES)
    detector.model.bbox_head.rtm_reg[2].bias.data.fill_(100)
    return detector


def test_non_finite_boxes_are_left_out(diverged: Detector, scenes):
    """A barely trained model may overflow exp() and predict non-finite boxes."""
    with pytest.warns(UserWarning, match=r"\d+ boxes in \d+ images, the first scene_\d+, are left out: .* not finite"):
        detections = predict(diverged, scenes.images, class_scores=True, features=True)
    assert len(detections) == 16
    assert detections.n_boxes > 0
    rows = np.arange(detections.n_boxes)
    np.testing.assert_array_equal(detections.class_scores[rows, detections.labels], detections.scores)
    assert len(detections.box_features) == detections.n_boxes


CALLS = {
    "predict": lambda detector, images: detector.predict(images, progress=False),
    "stream": lambda detector, images: list(detector.stream(images, progress=False)),
    "predict_views": lambda detector, images: detector.predict_views(images, [View()], progress=False),
    "predict_scenes": lambda detector, images: detector.predict_scenes(images, progress=False),
}


class TestWarnings:
    """They point at the caller's line, whichever method is called."""

    @pytest.mark.parametrize("method", [name for name in CALLS if name != "stream"])
    def test_of_files_that_cannot_be_read(self, detector: Detector, method: str, tmp_path: Path):
        (tmp_path / "empty.png").touch()
        with pytest.warns(UserWarning, match="1 images could not be read") as caught:
            CALLS[method](detector, tmp_path)
        assert [warning.filename for warning in caught] == [__file__]

    @pytest.mark.parametrize("method", CALLS)
    def test_of_boxes_that_are_not_finite(self, diverged: Detector, method: str, scenes):
        with pytest.warns(UserWarning, match="their numbers are not finite") as caught:
            CALLS[method](diverged, scenes.images)
        assert {warning.filename for warning in caught} == {__file__}

    def test_of_waiting_for_another_process(self, tmp_path: Path, monkeypatch):
        monkeypatch.setattr(shards_module, "PATIENCE", 0)
        shards = Shards(tmp_path, {"model": "a"}, 1)
        monkeypatch.setattr("time.sleep", lambda _: shards.add(0, RotatedInstances.empty(["a"])))
        with pytest.warns(UserWarning, match=r"waiting for .*part-00000\.parquet, which process 0 has to") as caught:
            assert [part.image_ids.tolist() for part in shards.wait([["a"]])] == [["a"]]
        assert [warning.filename for warning in caught] == [__file__]
