from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from mmengine.config import Config  # noqa: E402

from al_rotate.detection import configs  # noqa: E402

RTMDET = "rotated_rtmdet_tiny-3x-dota"
SHIPPED = sorted(file.stem for file in configs.SHIPPED.rglob("*.py") if "_base_" not in file.parts)

BROKEN = {  # as they are shipped: a base that is not there, and a package that is not MMRotate's
    "rotated-retinanet-rbox-le135_r50_fpn_gwd_1x_dota",
    "rotated-retinanet-rbox-le90_convnext-tiny_fpn_kld-stable_adamw-1x_dota",
}


def test_every_shipped_config_is_found_by_name_and_made_ready():
    assert len(SHIPPED) > 100
    for name in sorted({*SHIPPED} - BROKEN):
        config = configs.load(name)
        assert config.default_scope == "mmrotate"
        assert len(configs.dataset_classes(config)) >= 1
        assert configs.array_pipeline(config)[0] == {"type": "mmdet.LoadImageFromNDArray"}


def test_a_config_is_given_by_name_path_or_config():
    path = configs.find(RTMDET)
    assert path.name == f"{RTMDET}.py"
    assert configs.find(f"{RTMDET}.py") == configs.find(str(path)) == configs.find(path) == path
    assert configs.load(path).model == configs.load(RTMDET).model
    own = Config.fromfile(path)
    loaded = configs.load(own, {"model.bbox_head.num_classes": 3})
    assert (own.model.bbox_head.num_classes, loaded.model.bbox_head.num_classes) == (15, 3)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        FileNotFoundError, match=r"got rotated_rtmdet_tiny_3x_dota; did you mean rotated_rtmdet_tiny-3x"
    ):
        configs.load("rotated_rtmdet_tiny_3x_dota")
    with pytest.raises(FileNotFoundError, match=r"got zzzz; the \d+ shipped ones are under"):
        configs.load("zzzz")
    with pytest.raises(FileNotFoundError, match=r"got somewhere/rotated_rtmdet_tiny-3x-dota\.py; did you mean"):
        configs.load(f"somewhere/{RTMDET}.py")  # a path that is not there, though its name is one of the shipped


def test_cfg_options_are_merged_and_left_as_they_were():
    options = {"model.test_cfg.score_thr": 0.3, "train_cfg": {"_delete_": True, "type": "IterBasedTrainLoop"}}
    for _ in range(2):
        config = configs.load(RTMDET, options)
        assert config.model.test_cfg.score_thr == 0.3
        assert config.train_cfg == {"type": "IterBasedTrainLoop"}
    assert options["train_cfg"] == {"_delete_": True, "type": "IterBasedTrainLoop"}


def test_set_classes_reaches_every_head_of_a_cascade():
    config = configs.load("roi-trans-le90_r50_fpn_1x_dota")
    configs.set_classes(config, ("ship", "plane"))
    assert [head.num_classes for head in config.model.roi_head.bbox_head] == [2, 2]


def test_without_pretrained_drops_only_what_would_be_fetched():
    config = configs.load(RTMDET)
    assert config.model.backbone.init_cfg.type == "Pretrained"
    configs.without_pretrained(config)
    assert config.model.backbone.init_cfg is None
    config = configs.load(RTMDET, {"model.backbone.init_cfg": {"_delete_": True, "type": "Kaiming", "layer": "Conv2d"}})
    configs.without_pretrained(config)
    assert config.model.backbone.init_cfg.type == "Kaiming"


def test_dataset_classes_look_through_wrappers():
    config = configs.load(RTMDET)
    plain = configs.dataset_classes(config)
    assert plain[0] == "plane"
    assert len(plain) == 15
    config.train_dataloader.dataset = {"type": "RepeatDataset", "times": 2, "dataset": config.train_dataloader.dataset}
    assert configs.dataset_classes(config) == plain
    config.train_dataloader.dataset.dataset.metainfo = {"classes": ("ship",)}
    assert configs.dataset_classes(config) == ("ship",)


def test_array_pipeline_refuses_what_it_cannot_feed():
    config = configs.load(RTMDET)
    config.test_dataloader.dataset.pipeline = [{"type": "mmdet.Resize", "scale": (8, 8)}]
    with pytest.raises(ValueError, match=r"begins with LoadImageFromFile, got mmdet\.Resize"):
        configs.array_pipeline(config)


class TestPublishedWeights:
    """Against configs of our own that are "shipped": the addresses of MMRotate's need a network."""

    content = b"weights"
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"

    @pytest.fixture
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return tmp_path / "cache" / "al_rotate" / "checkpoints"

    @pytest.fixture
    def ship(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def publish(address: str) -> None:
            folder = tmp_path / "shipped" / "tiny"
            folder.mkdir(parents=True)
            (folder / "metafile.yml").write_text(f"Models:\n  - Name: tiny\n    Weights: {address}\n")
            (folder.parent / "other").mkdir()
            (folder.parent / "other" / "metafile.yml").write_text("Collections:\n  - Name: no models here\n")
            monkeypatch.setattr(configs, "SHIPPED", folder.parent)

        return publish

    def test_downloads_once_and_checks_the_hash(self, cache: Path, ship, tmp_path: Path):
        source = tmp_path / self.name
        source.write_bytes(self.content)
        ship(source.as_uri())
        assert configs.published_weights("tiny") == cache / self.name
        source.unlink()
        assert configs.published_weights("tiny").read_bytes() == self.content

    def test_a_download_with_another_hash_is_not_kept(self, cache: Path, ship, tmp_path: Path):
        source = tmp_path / self.name
        source.write_bytes(b"a login page")
        ship(source.as_uri())
        with pytest.raises(ConnectionError, match="invalid hash value"):
            configs.published_weights("tiny")
        assert list(cache.iterdir()) == []

    def test_offline_says_which_file_to_put_where(self, cache: Path, ship):
        address = f"https://weights.invalid/some/{self.name}"  # .invalid is no one's, by RFC 2606
        ship(address)
        with pytest.raises(ConnectionError) as error:
            configs.published_weights("tiny")
        assert f"could not download {address}" in str(error.value)
        assert f"put it at {cache / self.name}" in str(error.value)

        (cache / self.name).write_bytes(self.content)
        assert configs.published_weights("tiny") == cache / self.name
        (cache / self.name).write_bytes(self.content[:-1])
        with pytest.raises(ValueError, match=r"expected the SHA-256 of .* fetch it again"):
            configs.published_weights("tiny")

    def test_unpublished_lists_what_there_is(self):
        with pytest.raises(ValueError, match=f"got my_config; there are: .*{RTMDET}"):
            configs.published_weights("my_config.py")
