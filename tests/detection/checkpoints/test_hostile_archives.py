"""Archives that look to one reader like weights and to another like a program: nothing of them runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.detection.checkpoints import read_checkpoint, write_checkpoint  # noqa: E402

END = b"PK\5\6"


class Program(torch.nn.Module):
    """Writes 16 values to the file ``mark`` in the working directory when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.training = True

    @torch.jit.export
    def __getstate__(self):
        return (self.training,)

    @torch.jit.export
    def __setstate__(self, state: tuple[bool]):
        self.training = state[0]
        self.weight = torch.from_file("mark", True, 16)

    def forward(self):
        return self.weight


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A TorchScript archive that would write a file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Program()).save("program.pt")
    torch.jit.load("program.pt")
    assert Path("mark").stat().st_size == 64  # the attack works
    Path("mark").unlink()
    return Path("program.pt").read_bytes()


def directory(raw: bytes) -> tuple[int, bytes, int]:
    """Where the central directory begins, itself, and how many entries it has."""
    end = raw.rindex(END)
    count, size, start = struct.unpack_from("<HII", raw, end + 10)
    return start, raw[start : start + size], count


def end_record(count: int, size: int, start: int, comment: bytes = b"") -> bytes:
    return struct.pack("<4sHHHHIIH", END, 0, 0, count, count, size, start, len(comment)) + comment


def two_directories(raw: bytes) -> bytes:
    """PyTorch's reader takes the directory where the end record says, Python's the one that lies before it."""
    start, real, count = directory(raw)
    shown = real.replace(b"constants.pkl", b"constantsXpkl")
    return raw[:start] + real + shown + end_record(count, len(real), start)


def two_directories_exchanged(raw: bytes) -> bytes:
    start, real, count = directory(raw)
    shown = real.replace(b"constants.pkl", b"constantsXpkl")
    return raw[:start] + shown + real + end_record(count, len(real), start)


def renamed(raw: bytes) -> bytes:
    """Only the directory says another name than the record itself."""
    start, _, _ = directory(raw)
    return raw[:start] + raw[start:].replace(b"constants.pkl", b"constantsXpkl")


def in_capitals(raw: bytes) -> bytes:
    return raw.replace(b"constants.pkl", b"CONSTANTS.pkl")


def an_end_record_in_the_comment(raw: bytes) -> bytes:
    start, real, count = directory(raw)
    return raw[:start] + real + end_record(count, len(real), start, end_record(0, 0, 0))


def behind_something_else(raw: bytes) -> bytes:
    return b"PK\3\4" + b"\0" * 60 + raw


def behind_a_checkpoint(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.ones(2)}}, buffer)
    return buffer.getvalue() + raw


def with_a_doubled_pickle(raw: bytes) -> bytes:
    buffer = io.BytesIO(raw)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("program/data.pkl", pickle.dumps({"state_dict": {}}))
    return buffer.getvalue()


def with_another_pickle(raw: bytes) -> bytes:
    buffer = io.BytesIO(raw.replace(b"constants.pkl", b"constantsXpkl"))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps({"state_dict": {}}))
    return buffer.getvalue()


def as_zip64(raw: bytes) -> bytes:
    """Two directories again, one of them named by the end record of a large archive."""
    start, real, count = directory(raw)
    shown = real.replace(b"constants.pkl", b"constantsXpkl")
    at = start + len(real) + len(shown)
    large = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(shown), start + len(real))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    return raw[:start] + real + shown + large + locator + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


DISGUISES = [
    bytes,
    two_directories,
    two_directories_exchanged,
    renamed,
    in_capitals,
    an_end_record_in_the_comment,
    behind_something_else,
    behind_a_checkpoint,
    with_a_doubled_pickle,
    with_another_pickle,
    as_zip64,
]


@pytest.mark.parametrize("disguise", DISGUISES, ids=lambda disguise: disguise.__name__)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_program_does_not_run_in_any_disguise(program: bytes, disguise: Any):
    Path("evil.pth").write_bytes(disguise(program))
    with pytest.raises(ValueError, match=r"expected a checkpoint.*evil\.pth"):
        read_checkpoint("evil.pth")
    assert not Path("mark").exists()


def test_no_loader_of_pytorchs_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes):
    """So that what such a loader may run is no question."""
    path = write_checkpoint(tmp_path / "honest.pth", {"weight": torch.arange(6.0).view(2, 3)}, ("ship",))
    legacy = tmp_path / "legacy.pth"
    torch.save({"weight": torch.arange(6.0).view(2, 3).T}, legacy, _use_new_zipfile_serialization=False)
    Path("evil.pth").write_bytes(two_directories(program))
    called = []
    for module, name in [
        (torch, "load"),
        (torch.jit, "load"),
        (torch.serialization, "load"),
        (torch._C, "import_ir_module"),
    ]:
        monkeypatch.setattr(module, name, lambda *args, **kwargs: called.append(args))
    assert read_checkpoint(path).state["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_checkpoint(legacy).state["weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="expected a checkpoint"):
        read_checkpoint("evil.pth")
    assert called == []


class Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("mark",)


def test_nor_does_the_form_of_pytorch_before_0_1_10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A tar, of which torch.load unpickles three members."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open("old.pth", "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Attack())
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"expected a checkpoint, got old\.pth"):
        read_checkpoint("old.pth")
    assert [file.name for file in tmp_path.iterdir()] == ["old.pth"]


def test_damage_in_the_weights_is_noticed(tmp_path: Path):
    path = write_checkpoint(tmp_path / "damaged.pth", {"weight": torch.full((64,), 3.0)}, ("ship",))
    raw = bytearray(path.read_bytes())
    raw[raw.index(struct.pack("<f", 3.0) * 64) + 5] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"got .*damaged\.pth: damaged or incomplete \(BadZipFile: Bad CRC-32"):
        read_checkpoint(path)
