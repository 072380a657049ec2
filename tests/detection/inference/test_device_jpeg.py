"""Which files a GPU would decode, and what becomes of them: on the CPU, where torchvision decodes by libjpeg."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.detectors import predict
from PIL import Image
from tqdm import tqdm

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.data import images, synthetic  # noqa: E402
from al_rotate.detection import Detector, PredictOptions, configs  # noqa: E402
from al_rotate.detection.inference import device_jpeg, forward, pipeline  # noqa: E402
from al_rotate.detection.inference.options import OutputOptions  # noqa: E402
from al_rotate.detection.inference.preparing import Preparation  # noqa: E402

CPU = torch.device("cpu")
DAMAGED = {"noisy", "cut_short"}  # behind the header: nobody notices, and libjpeg decodes what it can
DECODED = {"usual", "progressive", "full_colour", "upright", "without_tables", *DAMAGED}  # without tables: only tried


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each kind, not in the order of their names."""
    folder = tmp_path_factory.mktemp("kinds")
    picture = Image.fromarray(synthetic.render(128, 5)[0])

    def encoded(shown: Image.Image = picture, kind: str = "jpeg", **options: Any) -> bytes:
        file = io.BytesIO()
        shown.save(file, kind, **options)
        return file.getvalue()

    def turned(orientation: int) -> Image.Exif:
        exif = Image.Exif()
        exif[0x0112] = orientation
        return exif

    usual = encoded()
    tables, half = usual.index(b"\xff\xdb"), len(usual) // 2
    kinds = {
        "usual": usual,
        "progressive": encoded(progressive=True),
        "turned": encoded(exif=turned(6)),
        "upright": encoded(exif=turned(1)),
        "full_colour": encoded(subsampling=0),
        "grey": encoded(picture.convert("L")),
        "cmyk": encoded(picture.convert("CMYK")),
        "rgb": encoded(keep_rgb=True),
        "several": encoded(kind="mpo", save_all=True, append_images=[picture]),
        "png": encoded(kind="png"),
        "truncated": usual[:half],
        "cut_short": usual[:half] + b"\xff\xd9",
        "noisy": usual[:half] + np.random.default_rng(0).bytes(1000).replace(b"\xff", b"") + usual[half + 1000 :],
        "without_tables": usual[:tables] + usual[usual.index(b"\xff\xc0") :],
        "text": b"no image",
        "empty": b"",
        "large": encoded(picture.resize((700, 600))),
    }
    for name, data in kinds.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in kinds} | {"missing": folder / "missing"}


def test_what_is_sent_where(files: dict[str, Path]):
    sent = {name: device_jpeg.read(file) for name, file in files.items()}
    assert {name for name, file in sent.items() if file is not None} == DECODED | {"large"}
    for name in DECODED:
        assert sent[name].shape == (128, 128, 3)
        assert bytes(sent[name].data.numpy()) == files[name].read_bytes()


def test_one_that_cannot_be_decoded_among_others(files: dict[str, Path]):
    prepared = Preparation(configs.load("rotated_rtmdet_tiny-3x-dota")).deferred(CPU)
    names = ["usual", "without_tables", "png", "text", "progressive", *DAMAGED] * 8  # more than go at once
    pairs = [(name, files[name]) for name in names]
    done = list(prepared.finished(map(prepared, pairs), pairs))
    for name, image in zip(names, done, strict=True):
        if name in ("without_tables", "text"):
            assert isinstance(image, images.UnreadableImage)
            assert f"/{name}: " in str(image)
        else:
            pixels = image["inputs"].pixels.numpy()
            np.testing.assert_array_equal(pixels, images.read(files[name], "BGR"), err_msg=name)
            assert image["data_samples"].img_id == name


def test_the_same_detections_and_reasons(detector: Detector, files: dict[str, Path], monkeypatch):
    """With this decoder, whose pixels are Pillow's."""
    decode, together = device_jpeg.decode_jpeg, []

    def noting(data: list[Any], *rest: Any) -> Any:
        together.append(len(data))
        return decode(data, *rest)

    monkeypatch.setattr(device_jpeg, "decode_jpeg", noting)
    with pytest.warns(UserWarning, match="could not be read"):
        expected = predict(detector, files, batch_size=4)
    prepare = Preparation(detector.config).deferred(CPU)
    run = forward.Forward(detector.model, len(detector.classes), OutputOptions(), CPU, "fp32", None, 2)
    with tqdm(disable=True) as bar:
        found = pipeline.InferencePipeline(prepare, run, detector.classes, 4, None, bar)([*files.items()])
    assert found == expected
    assert {*found.skipped} == {"truncated", "without_tables", "text", "empty", "missing"}
    # Halved while one fails; "large" is resized as ever.
    assert together == [7, 3, 4, 2, 2, 1, 1]


class TestWithoutMemory:
    """A GPU's memory that holds two pictures at a time, or none."""

    @pytest.fixture
    def holds(self, monkeypatch) -> list[int]:
        decode, most = device_jpeg.decode_jpeg, [2]

        def decoding(data: list[Any], *rest: Any) -> Any:
            if len(data) > 2 * most[0]:
                raise RuntimeError("memory\nis full")  # as torchvision says it
            return [NoRoom() for _ in data] if len(data) > most[0] else decode(data, *rest)

        class NoRoom:
            def flip(self, dimension: int) -> Any:
                raise torch.OutOfMemoryError("too large")

        monkeypatch.setattr(device_jpeg, "decode_jpeg", decoding)
        return most

    def finished(self, files: dict[str, Path]) -> dict[str, Any]:
        prepare = Preparation(configs.load("rotated_rtmdet_tiny-3x-dota")).deferred(CPU)
        pairs = [(f"{name}{k}", files[name]) for k in range(5) for name in ("usual", "text", "progressive")]
        done = prepare.finished(map(prepare, pairs), pairs)
        return {name: image for (name, _), image in zip(pairs, done, strict=True)}

    @pytest.mark.parametrize("most", [1, 2])
    def test_in_smaller_batches(self, files: dict[str, Path], holds: list[int], most: int, recwarn):
        holds[0] = most
        self.check(self.finished(files), files)
        assert not recwarn

    def test_by_the_usual_decoder(self, files: dict[str, Path], holds: list[int]):
        holds[0] = 0
        with pytest.warns(UserWarning, match="10 JPEG files were decoded on the CPU, .* first usual0: on cpu, memory$"):
            found = self.finished(files)
        self.check(found, files)

    def check(self, found: dict[str, Any], files: dict[str, Path]) -> None:
        for name, image in found.items():
            if name.startswith("text"):
                assert isinstance(image, images.UnreadableImage)
            else:
                expected = images.read(files[name[:-1]], "BGR")
                np.testing.assert_array_equal(image["inputs"].pixels.numpy(), expected)


class TestAsked:
    def test_on_a_cpu(self, detector: Detector, files: dict[str, Path]):
        with pytest.raises(
            ValueError, match="expected a detector on a GPU with nvjpeg, got one on cpu; leave nvjpeg out"
        ):
            predict(detector, files, nvjpeg=True)

    def test_without_resizing_there(self):
        with pytest.raises(ValueError, match="expected resize_on_device with nvjpeg"):
            PredictOptions(nvjpeg=True, resize_on_device=False)

    def test_with_a_pipeline_of_another_form(self, detector: Detector):
        config = configs.load(detector.config)
        config.test_dataloader.dataset.pipeline[1].backend = "pillow"
        with pytest.raises(ValueError, match=r"a test pipeline that loads, .*, got Compose.* backend=pillow.*; leave"):
            Preparation(config).on(torch.device("cuda:0"), PredictOptions(nvjpeg=True))

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
    def test_where_torchvision_cannot(self, detector: Detector):
        device_jpeg.require(CPU)
        with pytest.raises(ValueError, match="expected a torchvision that decodes JPEG files on cuda:0, got"):
            Preparation(detector.config).on(torch.device("cuda:0"), PredictOptions(nvjpeg=True))

    def test_finished_scenes_are_those_of_any_decoder(self, detector: Detector, files: dict[str, Path], tmp_path: Path):
        """Tiles are cut out of scenes that Pillow decodes."""
        first = detector.predict_scenes([files["usual"]], progress=False, out=tmp_path)
        assert detector.predict_scenes([files["usual"]], progress=False, out=tmp_path, nvjpeg=True) == first

    def test_its_detections_are_not_mixed_with_others(self, detector: Detector):
        usual = Preparation(detector.config)
        assert str(usual.deferred()) == str(usual)
        assert str(usual.deferred(CPU)) == f"{usual}, nvJPEG"
