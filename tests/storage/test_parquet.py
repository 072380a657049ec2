"""Parquet files and their manifests that a power cut or somebody else left."""

import pytest

from al_rotate.data import RotatedInstances
from al_rotate.storage.manifest import claim, read
from al_rotate.storage.parquet import SHARDS_NOTE, shards


@pytest.fixture
def folder(tmp_path):
    for number in range(2):
        RotatedInstances.empty([f"{number}"], ["ship"]).save(tmp_path / f"part-{number}.parquet")
    return tmp_path


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0", b'{"shards"', b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_manifest_is_named(folder, content):
    (folder / SHARDS_NOTE).write_bytes(content)
    with pytest.raises(ValueError, match=rf"expected a manifest, {folder / SHARDS_NOTE} .*: delete {folder}"):
        list(shards(folder))
    with pytest.raises(ValueError, match=rf"{folder / SHARDS_NOTE}"):
        claim(folder / SHARDS_NOTE, {"model": "a"}, "detections", "choose another folder")
    # Where there is nothing that could contradict it, it is written again.
    assert claim(folder / SHARDS_NOTE, {"model": "a"}, "detections", "", in_use=False) == {"model": "a"}
    assert read(folder / SHARDS_NOTE) == {"model": "a"}
    assert [file.name for file in shards(folder)] == ["part-0.parquet", "part-1.parquet"]


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"PAR1"])
def test_a_damaged_shard_is_named(folder, content):
    (folder / "part-1.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=rf"expected a Parquet file of RotatedInstances, got {folder}/part-1\.parquet"):
        RotatedInstances.load(folder)
