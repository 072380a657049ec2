"""Deep files of many bands: the network, the training and the browser get the same pixels."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import predict
from numpy.typing import NDArray

pytest.importorskip("mmrotate")
rasterio = pytest.importorskip("rasterio")
pytestmark = [pytest.mark.mm, pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")]

from al_rotate.data import images  # noqa: E402
from al_rotate.data.sources import ChosenBands  # noqa: E402
from al_rotate.data.tiling import Tiling  # noqa: E402
from al_rotate.detection import Detector, PredictOptions  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402
from al_rotate.detection.openmmlab.components import LoadImageAsShown  # noqa: E402

BANDS, STRETCH = (4, 3, 2), (1.0, 99.0)


@pytest.fixture(scope="module")
def pool(scenes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered scenes as 11-bit TIFFs of five bands, red the fourth."""
    folder = tmp_path_factory.mktemp("deep")
    files = list(images.find(scenes.images).values())[:3]
    for file in files:
        values = images.read(file).astype(np.uint16) * 8
        bands = np.moveaxis(np.dstack([values[..., 0] // 3, values[..., ::-1], values[..., 1] // 2]), -1, 0)
        profile = {"width": bands.shape[2], "height": bands.shape[1], "count": 5, "dtype": "uint16"}
        with rasterio.open(folder / f"{file.stem}.tif", "w", "GTiff", **profile) as tiff:
            tiff.write(bands)
    return folder


@pytest.fixture(scope="module")
def rendered(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return images.render(pool, tmp_path_factory.mktemp("pngs"), bands=BANDS, stretch=STRETCH)


def expected(file: Path) -> NDArray[np.uint8]:
    """By the definition: bands 4, 3, 2, each linear between its 1st and 99th percentile, (H, W, 3) RGB."""
    with rasterio.open(file) as tiff:
        values = np.moveaxis(tiff.read([4, 3, 2]), 0, -1).astype(float)
    low, high = np.percentile(values, [1, 99], axis=(0, 1))
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def test_network_training_and_rendition_get_the_same_pixels(detector: Detector, pool: Path, rendered: dict[str, Path]):
    prepare = Preparation(detector.config)
    for image_id, file in images.find(pool).items():
        png = rendered[image_id]
        straight = prepare((image_id, ChosenBands(file, BANDS, STRETCH)))["inputs"]
        np.testing.assert_array_equal(straight, prepare((image_id, png))["inputs"])
        trained_on = LoadImageAsShown().transform({"img_path": str(png)})["img"]
        np.testing.assert_allclose(trained_on[..., ::-1].astype(int), expected(file), atol=1)
        np.testing.assert_array_equal(trained_on, ChosenBands(file, BANDS, STRETCH)())
        # The scenes are no larger than the network's input: what it gets are these pixels themselves.
        height, width = trained_on.shape[:2]
        np.testing.assert_array_equal(straight.numpy()[:, :height, :width].transpose(1, 2, 0), trained_on)


def test_the_browser_shows_these_pixels(rendered: dict[str, Path]):
    browser = pytest.importorskip("helpers.bridge.browser")
    if not (browser.CHROMIUM and browser.DRIVER):
        pytest.skip("needs chromium and chromedriver")
    png = next(iter(rendered.values()))
    script = """
        const [address, done] = arguments, image = new Image()
        image.onload = () => {
            const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight)
            const context = canvas.getContext("2d")
            context.drawImage(image, 0, 0)
            const pixels = context.getImageData(0, 0, canvas.width, canvas.height)
            done([pixels.width, pixels.height, Array.from(pixels.data)])
        }
        image.src = address
    """
    options = browser.webdriver.ChromeOptions()
    options.binary_location = browser.CHROMIUM
    for flag in browser.FLAGS:
        options.add_argument(flag)
    driver = browser.webdriver.Chrome(options, browser.webdriver.ChromeService(browser.DRIVER))
    try:
        address = f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"
        width, height, values = driver.execute_async_script(script, address)
    finally:
        driver.quit()
    assert (width, height) == images.size(png)
    np.testing.assert_array_equal(np.reshape(values, (height, width, 4))[..., :3], images.read(png))


def test_predictions_straight_on_deep_files(detector: Detector, pool: Path, rendered: dict[str, Path], tmp_path: Path):
    on_pngs = predict(detector, rendered)
    assert on_pngs.n_boxes > 5
    assert predict(detector, pool, bands=BANDS, stretch=STRETCH) == on_pngs
    assert detector.predict(pool, PredictOptions(bands=BANDS, stretch=STRETCH, progress=False)) == on_pngs
    (shard,) = detector.stream(pool, bands=BANDS, stretch=STRETCH, progress=False)
    assert shard == on_pngs
    tiling = Tiling(96, 32)
    in_tiles = detector.predict_scenes(rendered, tiling, progress=False)
    assert detector.predict_scenes(pool, tiling, bands=BANDS, stretch=STRETCH, progress=False) == in_tiles
    views, of_pngs = (
        detector.predict_views(files, progress=False, **options)
        for files, options in ((pool, {"bands": BANDS, "stretch": STRETCH}), (rendered, {}))
    )
    assert views == of_pngs
    # Others of the bands are another prediction, and never mixed with this one in a folder.
    options = {"stretch": STRETCH, "out": tmp_path / "out"}
    first = predict(detector, pool, bands=BANDS, **options)
    assert first == on_pngs == predict(detector, pool, bands=list(BANDS), **options)
    with pytest.raises(ValueError, match="detections with another choice of bands; choose another folder"):
        predict(detector, pool, bands=(2, 3, 4), **options)
    with pytest.raises(ValueError, match="detections with another choice of bands, stretch; choose another folder"):
        predict(detector, rendered, out=tmp_path / "out")


def test_bands_that_nobody_chose(detector: Detector, pool: Path):
    with pytest.warns(
        UserWarning, match=r"3 images could not be read, the first .*: .* the image has 5 bands; say which"
    ):
        found = predict(detector, pool)
    assert len(found) == 0
    assert len(found.skipped) == 3


@pytest.mark.parametrize("wrong", [{"bands": (1, 2)}, {"bands": "432"}, {"stretch": (98, 2)}, {"stretch": 2}])
def test_options_that_cannot_be(wrong: dict):
    with pytest.raises(ValueError, match=r"expected (bands|stretch) as"):
        PredictOptions(**wrong)
