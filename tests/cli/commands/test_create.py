"""init: a workspace from images, a config and what there is already."""

import pytest
from helpers import label_files

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

CONFIG = "rotated_rtmdet_tiny-3x-dota"


@pytest.fixture
def init(al, tmp_path):
    """Run init on the three images with these further arguments."""
    images = label_files.images(tmp_path / "pool")

    def run(*arguments):
        return al("init", tmp_path / "work", "--images", images, "--config", CONFIG, "--device", "cpu", *arguments)

    return run


def test_the_classes_are_printed_and_the_next_command(init, tmp_path):
    code, out, _ = init("--classes", "truck, ship")
    assert code == 0
    assert out.startswith(f"{tmp_path / 'work'}: 3 images\n2 classes: truck, ship\nnext: al-rotate studio ")
    assert out.endswith(f"al-rotate connect {tmp_path / 'work'} --url ADDRESS\n")


@pytest.mark.parametrize("classes", ["clases.txt", "ship,ship", "dota-v9", ""])
def test_classes_that_cannot_be_meant(init, tmp_path, classes):
    code, out, err = init("--classes", classes)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("kind", ["test", "val"])
def test_sets_to_measure_on(init, tmp_path, kind):
    images = label_files.images(tmp_path / "other")
    labels = label_files.dota(tmp_path)
    code, _, err = init("--classes", "ship,truck", f"--{kind}-images", images)
    assert (code, f"expected --{kind}-images and --{kind}-labels together" in err) == (1, True)
    code, out, err = init("--classes", "ship,truck", f"--{kind}-images", images, f"--{kind}-labels", labels)
    assert code == 0
    assert f"{labels}: dota: 2 images, 2 boxes\n" in out
    name = {"test": "test", "val": "validation"}[kind]
    assert f"warning: 1 of 3 {name} images have no labels in {labels} and are not measured on, e.g. 'c'" in err
