"""A validation set: kept by the workspace, given to each training, never trained on."""

from pathlib import Path

import numpy as np
import pytest
from helpers.loops.loop import FILES, TEST, TEST_FILES, TRUTH, make
from helpers.noisy import NoisyLearner, labels_of

from al_rotate.cli.wording import metrics_text
from al_rotate.data import RotatedInstances, synthetic
from al_rotate.loop import ActiveLoop
from al_rotate.loop.learners import MMRotateLearner

VAL = labels_of(4, "image", seed=9).replace(image_sizes=None)  # called as images of the pool are
VAL_FILES = {image_id: f"/val/{image_id}.png" for image_id in VAL.image_ids}


class Validating(NoisyLearner):
    def __init__(self):
        super().__init__(TRUTH)
        self.validated = []

    def train(self, checkpoint, images, labels, work_dir, val=None):
        self.validated.append(val)
        weights, metrics = super().train(checkpoint, images, labels, work_dir)
        return weights, {**metrics, "mAP": -1.0, "val_mAP": 0.25}


def test_each_training_is_given_it(tmp_path):
    with make(tmp_path, val=(VAL_FILES, VAL), learner=Validating()) as loop:
        loop.run(1)
    learner = Validating()
    with ActiveLoop(tmp_path, learner=learner) as loop:  # the workspace remembers it
        history = loop.run(2)
        ((files, labels),) = learner.validated
        assert labels == VAL
        assert files == {image_id: Path(file) for image_id, file in VAL_FILES.items()}
        assert history["val_mAP"].tolist() == [0.25, 0.25]
        assert (history["mAP"] > 0).all()  # on the test set; a learner's own figure does not replace it
        assert len(learner.trained[0][2]) == 10


def test_a_learner_without_it_goes_on(tmp_path):
    with make(tmp_path / "one") as loop:
        loop.run(1)
    with pytest.raises(ValueError, match=r"NoisyLearner\.train takes no validation set: give it a parameter `val`"):
        make(tmp_path / "two", val=(VAL_FILES, VAL))
    assert not (tmp_path / "two").exists()


def test_it_is_checked_as_a_test_set_is(tmp_path):
    inside = {**VAL_FILES, "image_01": FILES["image_05"]}
    with pytest.raises(ValueError, match=r"of the validation set outside the pool, got 1 .*/images/image_05\.png"):
        make(tmp_path, val=(inside, VAL), learner=Validating())
    make(tmp_path, val=(VAL_FILES, VAL), learner=Validating()).close()
    make(tmp_path, val=(VAL_FILES, VAL), learner=Validating()).close()
    with pytest.raises(ValueError, match="has another validation set; to change it, use set_val"):
        make(tmp_path, val=(TEST_FILES, TEST), learner=Validating())
    (tmp_path / "val.parquet").unlink()
    with ActiveLoop(tmp_path, learner=Validating()) as loop:
        loop.query()
        loop.collect()
        with pytest.raises(FileNotFoundError, match=rf"val set of {tmp_path} is gone.*val\.parquet.*set_val"):
            loop.train()


@pytest.mark.mm
def test_mmrotate_validates_on_it_and_trains_without_what_it_cannot_decode(tmp_path, finetune_arguments):
    from al_rotate.detection import configs

    labels = synthetic.write_dataset(tmp_path / "pool", 4, 64, seed=1)
    val = synthetic.write_dataset(tmp_path / "val", 2, 64, seed=2)  # the same ids
    files = {i: next((tmp_path / "pool" / "images").glob(f"{i}.*")) for i in labels.image_ids}
    val_files = {i: next((tmp_path / "val" / "images").glob(f"{i}.*")) for i in val.image_ids}
    broken = files[labels.image_ids[0]]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 2 // 3])
    config = configs.load(finetune_arguments["config"])
    config.dump(tmp_path / "config.py")
    quick = {
        **finetune_arguments["cfg_options"],
        "train_cfg.max_iters": 2,
        "train_cfg.val_interval": 2,
        "train_dataloader.batch_size": 2,
        "model.test_cfg.max_per_img": 10,
    }
    learner = MMRotateLearner(tmp_path / "config.py", synthetic.CLASSES, "cpu", "fp32", quick)
    with pytest.warns(UserWarning, match=f"1 images and 0 boxes cannot be trained on.*{labels.image_ids[0]}"):
        checkpoint, metrics = learner.train(None, files, labels, tmp_path / "work", val=(val_files, val))
    assert checkpoint.is_file()
    assert metrics["images_left_out"] == 1
    assert 0 <= metrics["val_mAP"] <= 1
    shown = {name for name in metrics if "AP" in name}  # none of them is called like one on the test set
    assert shown == {"val_mAP", *(f"val_AP/{val.classes[k]}" for k in {*val.labels.tolist()})}
    assert np.mean([metrics[name] for name in shown - {"val_mAP"}]) == pytest.approx(metrics["val_mAP"])
    assert {*metrics_text({name: metrics[name] for name in shown}).splitlines()} == {
        f"{name}: {100 * metrics[name]:.1f} %" for name in shown
    }
    written = RotatedInstances.load(tmp_path / "work" / "data" / "val.parquet")
    assert written.boxes.tolist() == val.boxes.tolist()
    files[labels.image_ids[1]].unlink()
    with pytest.raises(FileNotFoundError, match=r"files of 4 labelled images, 1 are missing, .*remove_images"):
        learner.train(None, files, labels, tmp_path / "again")
