"""Pickles that claim more than they hold, or reach for what is not theirs."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("mmrotate")
pytestmark = pytest.mark.mm

from al_rotate.detection.checkpoints import read_checkpoint, unpickling, write_checkpoint  # noqa: E402

MEGABYTE = 1 << 20
HEAD = pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001) + pickle.dumps({"little_endian": True})


def in_a_zip(path: Path, content: bytes, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        for key, values in records.items():
            archive.writestr(f"archive/data/{key.removeprefix('_')}", values)
    return path


def legacy(path: Path, content: bytes, keys: Any = (), values: bytes = b"") -> Path:
    path.write_bytes(HEAD + content + pickle.dumps(keys) + values)
    return path


def tensor(
    key: str, count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, more: Any = ()
) -> bytes:
    """The pickle of {"weight": a float32 tensor}, by hand."""

    class Pickler(pickle._Pickler):
        dispatch = pickle._Pickler.dispatch.copy()

        def persistent_id(self, thing: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", count, *more) if thing is marker else None

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (marker, offset, size, stride, False, {})

    marker = object()
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"weight": Tensor()})
    return buffer.getvalue()


CLAIMS = {
    "memo": b"\x80\x02}r" + struct.pack("<I", 1 << 27) + b".",
    "memo as text": b"}p134217728\n.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 34) + b"a.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 34) + b"a.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 34) + b"a.",
    "more than a machine": b"\x80\x05\x96" + struct.pack("<Q", 1 << 63) + b"a.",
    "long text": b"\x80\x02X" + struct.pack("<I", 1 << 31) + b"a.",
    "old text": b"\x80\x02T" + struct.pack("<i", (1 << 31) - 1) + b"a.",
    "number": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"a.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"}.",
}


@pytest.mark.parametrize("form", [in_a_zip, legacy], ids=["zip", "legacy"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_costs_no_memory(tmp_path: Path, form: Any, claim: str):
    path = form(tmp_path / "claims.pth", CLAIMS[claim])
    assert path.stat().st_size < 600
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"expected a checkpoint.*claims\.pth"):
            read_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    finally:
        tracemalloc.stop()


def test_tensors_larger_than_the_file(tmp_path: Path):
    cases = {
        "storage": in_a_zip(tmp_path / "a.pth", tensor("0", 1 << 34, (2,), (1,)), _0=b"\0" * 8),
        "storage in the old form": legacy(
            tmp_path / "b.pth", tensor("0", 1 << 34, (2,), (1,)), ["0"], struct.pack("<q", 1 << 34) + b"\0" * 8
        ),
        "view beyond its storage": in_a_zip(tmp_path / "c.pth", tensor("0", 2, (1 << 30,), (1,)), _0=b"\0" * 8),
        "offset beyond its storage": in_a_zip(tmp_path / "d.pth", tensor("0", 2, (2,), (1,), 1), _0=b"\0" * 8),
        "less than it says": in_a_zip(tmp_path / "e.pth", tensor("0", 4, (4,), (1,)), _0=b"\0" * 8),
        "more than it says": in_a_zip(tmp_path / "f.pth", tensor("0", 1, (1,), (1,)), _0=b"\0" * 8),
        "no record": in_a_zip(tmp_path / "g.pth", tensor("1", 2, (2,), (1,)), _0=b"\0" * 8),
        "another length": legacy(
            tmp_path / "h.pth", tensor("0", 2, (2,), (1,)), ["0"], struct.pack("<q", 1) + b"\0" * 8
        ),
        "negative": in_a_zip(tmp_path / "i.pth", tensor("0", -2, (2,), (1,)), _0=b"\0" * 8),
        "a view of PyTorch 0.3": legacy(tmp_path / "j.pth", tensor("0", 2, (2,), (1,), more=(("1", 0, 2),))),
    }
    for case, path in cases.items():
        with pytest.raises(ValueError, match=rf"expected a checkpoint, got .*{path.name}"):
            pytest.fail(f"{case}: read {read_checkpoint(path)}")
    # By the same hand, one that is right: the others are wrong in what they say only.
    right = in_a_zip(tmp_path / "right.pth", tensor("0", 2, (2,), (1,)), _0=struct.pack("<2f", 1, 2))
    assert read_checkpoint(right).state["weight"].tolist() == [1, 2]
    values = struct.pack("<q2f", 2, 1, 2)
    right = legacy(tmp_path / "old.pth", tensor("0", 2, (2,), (1,), more=(None,)), ["0"], values)
    assert read_checkpoint(right).state["weight"].tolist() == [1, 2]


def test_what_grows_when_it_is_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", tensor("0", MEGABYTE, (MEGABYTE,), (1,)))
        archive.writestr("archive/data/0", b"\0" * 4 * MEGABYTE)
    with pytest.raises(ValueError, match=r"packed\.pth: .*compressed or too large"):
        read_checkpoint(tmp_path / "packed.pth")


DEEP, ENDLESS = b")" + b"\x85" * 300_000, b")" + b"2\x86" * 50  # tuples in tuples; 2 ** 50 of them, of 51 bytes each


@pytest.mark.parametrize("nested", [DEEP, ENDLESS], ids=["deep", "endless"])
@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04}%bNs.",
        b"\x80\x04(%bNd.",
        b"\x80\x04\x8f(%b\x90.",
        b"\x80\x04(%b\x91.",
        b"\x80\x04ccollections\nOrderedDict\n)R%bNs.",
        b"\x80\x04(U\x07storagectorch\nFloatStorage\n%bU\x03cpuK\x01tQ.",
    ],
    ids=["key", "key of a whole dict", "in a set", "in a frozenset", "key of an OrderedDict", "key of a storage"],
)
def test_nothing_of_a_file_is_hashed_but_text(tmp_path: Path, content: bytes, nested: bytes):
    """Python's own unpickler ends with a segmentation fault, or not at all."""
    with pytest.raises(ValueError, match=r"expected a checkpoint.*nested\.pth"):
        read_checkpoint(in_a_zip(tmp_path / "nested.pth", content % nested))


@pytest.mark.parametrize("nested", [DEEP, ENDLESS], ids=["deep", "endless"])
def test_nor_are_class_names_shown_that_are_none(tmp_path: Path, nested: bytes):
    state, meta = tensor("0", 2, (2,), (1,))[2:-1], b"}U\x07CLASSES" + nested + b"\x85s"
    content = b"\x80\x04}(U\x04meta" + meta + b"U\x0astate_dict" + state + b"u."
    read = read_checkpoint(in_a_zip(tmp_path / "named.pth", content, _0=b"\0" * 8))
    assert (read.classes, read.state["weight"].tolist()) == (None, [0, 0])


def test_a_list_of_storages_that_is_none(tmp_path: Path):
    weight, values = tensor("0", 1, (1,), (1,)), struct.pack("<q", 1) + b"\0" * 4
    for keys in ("0", None, [1], [("0",)], ["0", "1"]):
        with pytest.raises(ValueError, match="list of storages that are not those of its tensors"):
            read_checkpoint(legacy(tmp_path / "a.pth", weight, keys, values))
    with pytest.raises(ValueError, match="fewer than 4 bytes for the tensor '0'"):
        read_checkpoint(legacy(tmp_path / "b.pth", weight, []))
    (tmp_path / "c.pth").write_bytes(HEAD + weight + b"\x80\x02]" + DEEP + b"a.")
    with pytest.raises(ValueError, match="list of storages"):
        read_checkpoint(tmp_path / "c.pth")


def test_a_tensor_that_repeats_its_values_beyond_the_file(tmp_path: Path):
    path = in_a_zip(tmp_path / "a.pth", tensor("0", 1, (1 << 36, 3), (0, 0)), _0=b"\0" * 4)
    with pytest.raises(ValueError, match="a tensor that is larger than the file, of 68719476736 x 3 values"):
        read_checkpoint(path)
    path = in_a_zip(tmp_path / "b.pth", tensor("0", 1, (1,) * 65, (1,) * 65), _0=b"\0" * 4)
    with pytest.raises(ValueError, match="a tensor without a storage, an offset, a size or strides"):
        read_checkpoint(path)


def test_operations_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpickling, "MAX_OPERATIONS", 1000)
    path = in_a_zip(tmp_path / "many.pth", b"\x80\x04" + b"\x8f" * 2000 + b".")  # a set of 216 bytes for each byte
    with pytest.raises(ValueError, match="more than 1000 operations"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "name", [b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage", b"os\nsystem"]
)
def test_a_pickle_changes_nothing_that_outlives_it(tmp_path: Path, name: bytes):
    """BUILD sets attributes of whatever is on the stack, of a function or a class as well."""
    honest = write_checkpoint(tmp_path / "honest.pth", {"weight": torch.ones(2)}, ("ship",))
    state = b"N}U\x08__init__NsU\x08__call__NsU\x0c__defaults__)s\x86"
    in_a_zip(tmp_path / "reaching.pth", b"\x80\x02}c" + name + b"\n" + state + b"b0.")
    before = (torch._utils._rebuild_tensor_v2.__defaults__, dir(unpickling.Inert), dir(unpickling.Named))
    with pytest.raises(ValueError, match="expected a checkpoint with a state_dict"):
        read_checkpoint(tmp_path / "reaching.pth")
    assert before == (torch._utils._rebuild_tensor_v2.__defaults__, dir(unpickling.Inert), dir(unpickling.Named))
    assert read_checkpoint(honest).state["weight"].tolist() == [1, 1]


def test_a_copy_for_every_few_bytes_is_refused(tmp_path: Path):
    content = b"\x80\x02ccollections\nOrderedDict\n](" + b"N" * 10 + b"e\x85R."
    with pytest.raises(ValueError, match="OrderedDict as Python 2 wrote it"):
        read_checkpoint(in_a_zip(tmp_path / "copies.pth", content))


def test_shared_and_strided_tensors_of_every_type_are_read_as_pytorch_reads_them(tmp_path: Path):
    base = torch.arange(24.0).view(4, 6)
    state = {"base": base, "column": base[:, 2], "turned": base.T, "part": base[1:3, 1:4], "scalar": torch.tensor(3.5)}
    state |= {"empty": torch.zeros(0, 3), "expanded": torch.ones(1).expand(3)}
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool):
        state[str(dtype)] = torch.arange(5).to(dtype)
    for modern in (True, False):
        torch.save(
            {"state_dict": state, "optimizer": [base * 2]}, tmp_path / "a.pth", _use_new_zipfile_serialization=modern
        )
        expected = torch.load(tmp_path / "a.pth", weights_only=True)["state_dict"]
        read = read_checkpoint(tmp_path / "a.pth").state
        assert read.keys() == expected.keys()
        for name, values in expected.items():
            assert (read[name].dtype, read[name].stride()) == (values.dtype, values.stride())
            assert torch.equal(read[name], values)
        read["base"][0, 2] = -1
        assert read["column"][0] == -1
