from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.detection.checkpoints import read_checkpoint, write_checkpoint  # noqa: E402


def model(classes: int = 2) -> Any:
    torch.manual_seed(classes)
    return torch.nn.Sequential(
        OrderedDict(backbone=torch.nn.Linear(3, 4), norm=torch.nn.BatchNorm1d(4), head=torch.nn.Linear(4, classes))
    )


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Attack:
    """A pickle that creates a file when it is read the ordinary way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_what_is_written_is_read_and_loaded(tmp_path: Path):
    source = model()
    path = write_checkpoint(tmp_path / "weights.pth", source.state_dict(), ("ship", "plane"), epoch=3)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pth"]
    read = read_checkpoint(path)
    assert (read.path, read.classes) == (path, ("ship", "plane"))
    target = model()
    torch.nn.init.zeros_(target.backbone.weight)
    read.into(target)
    assert equal(target.state_dict(), source.state_dict())
    assert torch.load(path, weights_only=True)["meta"]["epoch"] == 3  # PyTorch's own safe loader takes it too


def test_a_runners_checkpoint_is_read_with_its_log_history(finetuned):
    runners = finetuned.checkpoint.with_name("iter_40.pth")
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        torch.load(runners, weights_only=True)  # else there would be nothing to test
    read = read_checkpoint(runners)
    whole = torch.load(runners, map_location="cpu", weights_only=False)
    assert equal(read.state, whole["state_dict"])
    assert read.classes == tuple(whole["meta"]["dataset_meta"]["classes"])
    # The averaged weights, which finetune hands over: MMEngine keeps those in state_dict.
    assert equal(read.state, read_checkpoint(finetuned.checkpoint).state)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_malicious_pickle_does_not_run(tmp_path: Path, legacy: bool):
    attacked, path = tmp_path / "attacked", tmp_path / "evil.pth"
    state = model().state_dict()
    evil = {"state_dict": state, "meta": {"dataset_meta": {"classes": ("a", "b")}}, "hook": Attack(attacked)}
    torch.save(evil, path, _use_new_zipfile_serialization=not legacy)
    torch.load(path, weights_only=False)
    assert attacked.is_dir()  # the attack works
    attacked.rmdir()
    read = read_checkpoint(path)
    assert not attacked.exists()
    assert equal(read.state, state)
    assert read.classes == ("a", "b")


@pytest.mark.parametrize("key", [None, "state_dict", "head.bias"])
def test_nor_where_weights_should_be(tmp_path: Path, key: str | None):
    attack, path = Attack(tmp_path / "attacked"), tmp_path / "evil.pth"
    state = {**model().state_dict(), "head.bias": attack}
    torch.save({None: attack, "state_dict": {"state_dict": attack}, "head.bias": {"state_dict": state}}[key], path)
    with pytest.raises(ValueError, match=r"state_dict of tensors, got .*evil\.pth"):
        read_checkpoint(path)
    assert not attack.path.exists()


@pytest.mark.parametrize("key", ["meta", "dataset_meta", "classes"])
def test_nor_where_classes_should_be(tmp_path: Path, key: str):
    attack, path = Attack(tmp_path / "attacked"), tmp_path / "evil.pth"
    metas = {"meta": attack, "dataset_meta": {"dataset_meta": attack}, "classes": {"dataset_meta": {"classes": attack}}}
    torch.save({"state_dict": model().state_dict(), "meta": metas[key]}, path)
    assert read_checkpoint(path).classes is None
    assert not attack.path.exists()


def test_nor_by_a_name_that_looks_like_one_of_ours(tmp_path: Path):
    # Protocol 4 lets a name have dots: the module is ours, the attribute somebody else's.
    for module, name in [("torch._utils", "sys.modules"), ("collections", "OrderedDict.fromkeys"), ("os", "system")]:
        payload = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(t)]) + t.encode() for t in (module, name)) + b"\x93."
        path = tmp_path / "named.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("named/data.pkl", payload)
            archive.writestr("named/version", "3\n")
        with pytest.raises(ValueError, match=r"named\.pth"):
            read_checkpoint(path)


def test_a_scripted_model_is_refused_unread(tmp_path: Path):
    path = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(model()), str(path))
    with pytest.raises(ValueError, match=r"scripted\.pt"):
        read_checkpoint(path)


def test_every_truncation_is_refused(tmp_path: Path):
    for legacy in (False, True):
        buffer = io.BytesIO()
        state = {"state_dict": model().state_dict(), "meta": {"epoch": 1}}
        torch.save(state, buffer, _use_new_zipfile_serialization=not legacy)
        content = buffer.getvalue()
        for length in [*range(0, len(content), max(1, len(content) // 60)), len(content) - 1]:
            path = tmp_path / "cut.pth"
            path.write_bytes(content[:length])
            with pytest.raises(ValueError, match=r"expected a checkpoint.*cut\.pth"):
                read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"<html>log in</html>",
        b"\x00" * 100,
        b"PK\x03\x04",
        pickle.dumps([1]),
        pickle.dumps({"a": 1}),
        b"0.",
    ],
    ids=["empty", "text", "html", "zeros", "zip", "list", "dict", "short"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a checkpoint.*file\.pth"):
        read_checkpoint(path)


def test_it_is_said_what_is_there_instead(tmp_path: Path):
    said = {
        b"<html>log in</html>": "no file of torch.save, it begins with b'<html>log in</html>'",
        b"": "an empty file",
        b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}': "a file of safetensors: load it with that library",
        pickle.dumps({"a": 1}): "a pickle that torch.save did not write",
        b"PK\x05\x06" + b"\0" * 18: "an archive with 0 data.pkl",
        b"PK\x03\x04": "damaged or incomplete (BadZipFile: File is not a zip file); copy it again",
    }
    for content, expected in said.items():
        (tmp_path / "file.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"expected a checkpoint, got .*file\.pth: " + re.escape(expected)):
            read_checkpoint(tmp_path / "file.pth")


def test_saved_things_that_hold_no_weights_are_refused(tmp_path: Path):
    for thing in ([torch.zeros(1)], {}, {"state_dict": {}}, {"state_dict": {"a": 1}}, torch.zeros(2)):
        torch.save(thing, tmp_path / "thing.pth")
        with pytest.raises(ValueError, match=r"state_dict of tensors, got .*thing\.pth"):
            read_checkpoint(tmp_path / "thing.pth")
    with pytest.raises(FileNotFoundError, match="expected a checkpoint file, got"):
        read_checkpoint(tmp_path / "none.pth")


def test_other_peoples_ways_to_save(tmp_path: Path):
    state = model().state_dict()
    torch.save(state, tmp_path / "bare.pth")
    assert equal(read_checkpoint(tmp_path / "bare.pth").state, state)
    wrapped = {
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "meta": {"CLASSES": ["a", "b"]},
    }
    torch.save(wrapped, tmp_path / "ddp.pth")
    read = read_checkpoint(tmp_path / "ddp.pth")
    assert equal(read.state, state)
    assert read.classes == ("a", "b")
    torch.save({"state_dict": state, "meta": {"dataset_meta": {"CLASSES": ("c", "d")}}}, tmp_path / "older.pth")
    assert read_checkpoint(tmp_path / "older.pth").classes == ("c", "d")
    torch.save({"state_dict": state, "meta": {"CLASSES": "ship"}}, tmp_path / "text.pth")
    assert read_checkpoint(tmp_path / "text.pth").classes == ("ship",)
    torch.save({"state_dict": dict(model().named_parameters())}, tmp_path / "parameters.pth")
    assert read_checkpoint(tmp_path / "parameters.pth").state["head.bias"].shape == (2,)


def test_another_models_weights_are_refused_with_a_reason(tmp_path: Path):
    path = write_checkpoint(tmp_path / "two.pth", model(2).state_dict(), ("a", "b"))
    with pytest.raises(
        ValueError, match=r"0 weights missing and 2 of another shape, e\.g\. head\.weight: expected \(5, 4\)"
    ) as e:
        read_checkpoint(path).into(model(5))
    assert "got (2, 4)" in str(e.value)
    bigger = torch.nn.Sequential(OrderedDict(**dict(model(2).named_children()), more=torch.nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"2 weights missing and 0 of another shape, e\.g\. more\.weight"):
        read_checkpoint(path).into(bigger)


def test_spoilt_weights_are_refused(tmp_path: Path):
    state = model().state_dict()
    state["backbone.bias"][1] = torch.nan
    path = write_checkpoint(tmp_path / "spoilt.pth", state, ("a", "b"))
    with pytest.raises(ValueError, match=r"finite weights, got .*spoilt\.pth with NaN in backbone\.bias: .* diverged"):
        read_checkpoint(path).into(model())


def test_a_warm_start_for_other_classes_keeps_the_backbone(tmp_path: Path):
    source, target = model(2), model(5)
    head = target.head.weight.clone()
    path = write_checkpoint(tmp_path / "two.pth", source.state_dict(), ("a", "b"))
    assert read_checkpoint(path).load_fitting(target) == ["head.weight", "head.bias"]
    assert torch.equal(target.backbone.weight, source.backbone.weight)
    assert torch.equal(target.norm.running_var, source.norm.running_var)
    assert torch.equal(target.head.weight, head)
