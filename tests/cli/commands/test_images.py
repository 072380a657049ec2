"""The commands tile and render."""

import numpy as np
import pytest
from PIL import Image

import al_rotate
from al_rotate.data import synthetic
from al_rotate.data.formats import dota


@pytest.fixture
def deep(tmp_path):
    """An image of 11 bits, of which a browser shows nothing: a ramp from 0 to 2047."""
    (tmp_path / "deep").mkdir()
    ramp = np.linspace(0, 2047, 128 * 64).round().astype(np.uint16).reshape(64, 128)
    Image.fromarray(ramp).save(tmp_path / "deep" / "a.tif")
    return tmp_path / "deep"


def test_render(al, deep, tmp_path):
    code, out, err = al("render", deep, "--out", tmp_path / "png")
    assert (code, out, err) == (0, f"{tmp_path / 'png'}: 1 image\n", "")
    with Image.open(tmp_path / "png" / "a.png") as image:
        assert (image.format, image.size, image.mode) == ("PNG", (128, 64), "RGB")
        pixels = np.asarray(image)
    assert (pixels[0, 0].tolist(), pixels[-1, -1].tolist()) == ([0, 0, 0], [255, 255, 255])
    assert al("render", deep, "--out", tmp_path / "png2", "--stretch", 0, 100, "--bands", 1)[0] == 0
    with Image.open(tmp_path / "png2" / "a.png") as image:
        middle = int(np.asarray(image)[32, 0, 0])
    assert abs(middle - 127.5) <= 1  # linear from the least value to the largest
    code, _, err = al("render", deep, "--out", tmp_path / "png3", "--bands", 4, 3, 2)
    assert (code, str(deep / "a.tif") in err) == (1, True)
    code, _, err = al("render", deep, "--out", tmp_path / "png3", "--stretch", 98, 2)
    assert (code, "two percentiles" in err) == (1, True)


@pytest.mark.parametrize(("command", "out"), [("tile", "tiles"), ("tile", "."), ("render", "pngs"), ("render", ".")])
def test_what_is_written_is_not_read_by_the_next_run(al, deep, command, out):
    before = sorted(deep.rglob("*"))
    code, _, err = al(command, deep, "--out", deep / out)
    assert (code, f"expected --out to write outside {deep}, got {deep / out}" in err) == (1, True)
    assert sorted(deep.rglob("*")) == before


def test_tiles_beside_the_images_of_a_data_set(al, deep, tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("10 10 20 10 20 20 10 20 ship 0")
    assert al("tile", deep, "--out", tmp_path, "--labels", tmp_path / "labels", "--tile", 256)[0] == 0
    labels = tmp_path / "labelTxt"
    code, _, err = al("tile", deep, "--out", tmp_path, "--labels", tmp_path / "labelTxt", "--tile", 256)
    assert (code, f"outside {labels}, got {labels}" in err) == (1, True)


def test_tile_of_deep_images(al, deep, tmp_path):
    code, out, _ = al("tile", deep, "--out", tmp_path / "tiles", "--tile", 64, "--overlap", 0, "--stretch", 0, 100)
    assert (code, "2 tiles of 1 scenes" in out) == (0, True)
    values = []
    for file in al_rotate.images.find(tmp_path / "tiles" / "images").values():
        with Image.open(file) as image:
            values.append(int(np.asarray(image).max()))
    assert max(values) == 255  # the scene's range, not the tile's
    assert min(values) >= 253


def test_tile(al, tmp_path):
    labels = synthetic.write_dataset(tmp_path, 2, 96)
    dota.write(labels, tmp_path / "labelTxt")
    arguments = ("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--tile", 64, "--overlap", 16)
    code, out, err = al(*arguments, "--labels", tmp_path / "labelTxt", "--classes", ",".join(synthetic.CLASSES))
    assert code == 0, err
    assert "8 tiles of 2 scenes" in out
    cut = dota.read(tmp_path / "tiles" / "labelTxt", synthetic.CLASSES)
    assert f"{cut.n_boxes} boxes, of {labels.n_boxes} in the scenes" in out
    assert cut.image_ids.tolist() == list(al_rotate.images.find(tmp_path / "tiles" / "images"))
    assert cut.n_boxes >= labels.n_boxes
    assert al(*arguments)[0] == 0  # again: nothing to do
    code, _, err = al("tile", tmp_path / "images", "--out", tmp_path / "tiles", "--overlap", 2000)
    assert (code, "expected 0 <= overlap < size" in err) == (1, True)
    (tmp_path / "labelTxt" / "other.txt").touch()
    code, _, err = al(*arguments, "--labels", tmp_path / "labelTxt")
    assert (code, "expected a scene for every label file, got none of 'other'" in err) == (1, True)
