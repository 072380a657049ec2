"""Exports of odd projects: several objects a page, groups of labels, changed names of files, malformed records."""

import codecs
import tracemalloc

import pytest
from helpers.bridge.exports import PLANE, SHIP, SIZE, annotation, region, task, write_export
from PIL import Image

from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.bridge.export import convert
from al_rotate.bridge.label_exports import read_export


def at(address, *regions, number=1, **more):
    """A task with the image at this address."""
    return task("x", annotation(*regions), id=number, **more) | {"data": {"image": address}}


def converted(folder, *tasks, to="dota", **options):
    out = folder / f"out {len([*folder.glob('out *')])}"
    return convert(write_export(folder, list(tasks)), to, out, **options)


def test_two_objects_a_page(tmp_path):
    other = region(PLANE, "what is there", to_name="reference")
    two = at("a.png", region(SHIP, "ship"), other)
    one = at("b.png", other, number=2)  # nothing on the image itself
    exported = converted(tmp_path, two, one)
    assert exported.labels.classes == ("ship",)
    assert exported.labels.counts.tolist() == [1, 0]
    assert exported.account["action"].tolist() == ["noted", "noted"]
    left, right = (region(SHIP, "ship", to_name=name) for name in ("left", "right"))
    with pytest.raises(ValueError, match=r"export\.json: .*some on left and some on right: give the project's"):
        converted(tmp_path, at("a.png", left), at("b.png", right))
    exported = converted(tmp_path, at("a.png", left), at("b.png", right), to_name="right")
    assert exported.labels.counts.tolist() == [0, 1]
    config = tmp_path / "config.xml"
    config.write_text(to_xml(["ship"]).replace('"image"', '"left"'))
    assert converted(tmp_path, at("a.png", left), label_config=config).labels.n_boxes == 1


def test_two_groups_of_labels(tmp_path):
    kind, state = region(SHIP, "ship", from_name="kind"), region(SHIP, "moored", from_name="state")
    both = at("a.png", {**kind, "id": "x"}, {**state, "id": "x"})
    exported = converted(tmp_path, both)
    assert exported.labels.n_boxes == len(exported.labels) == 0
    assert exported.account["action"].tolist() == ["quarantined"] * 2
    exported = converted(tmp_path, both, from_name="kind", classes=["ship"])
    assert exported.labels.n_boxes == 1


def test_names_that_the_server_changed(tmp_path):
    pool = tmp_path / "pool"
    pool.mkdir()
    for name in ("my image (1).jpg", "other.jpg"):
        Image.new("RGB", SIZE).save(pool / name)
    changed = at("/data/upload/1/0a1b2c3d-my_image_1.jpg", region(SHIP, "ship"))
    exported = converted(tmp_path, changed, to="yolo-obb", image_files=pool)
    assert exported.labels.image_ids.tolist() == ["my_image_1"]
    (pool / "my_image (1).jpg").write_bytes((pool / "other.jpg").read_bytes())
    with pytest.raises(ValueError, match="expected one file of the image 'my_image_1' in image_files, got"):
        converted(tmp_path, changed, to="yolo-obb", image_files=pool)


def test_images_of_one_name_in_two_folders(tmp_path):
    """The images' files tell them apart."""
    root = tmp_path / "scenes"
    for folder in ("p", "q"):
        (root / folder).mkdir(parents=True)
        Image.new("RGB", SIZE).save(root / folder / "001.png")
    Image.new("RGB", SIZE).save(root / "p" / "002.png")
    tasks = [
        at("/data/local-files/?d=scenes/p/001.png", region(SHIP, "ship")),
        at("/data/local-files/?d=scenes/q/001.png", region(SHIP, "ship"), region(PLANE, "ship"), number=2),
        at("/data/local-files/?d=scenes/p/002.png", number=3),
    ]
    exported = converted(tmp_path, *tasks, to="coco", image_files=root)
    counts = dict(zip(exported.labels.image_ids, exported.labels.counts.tolist(), strict=True))
    assert counts == {"p/001": 1, "q/001": 2, "002": 0}
    assert exported.account.empty
    without = convert(tmp_path / "export.json", "dota", tmp_path / "without")
    assert without.labels.image_ids.tolist() == ["002"]
    assert "another image has this name" in without.account["detail"][0]


@pytest.mark.parametrize(
    "odd",
    [
        at(r"/data/local-files/?d=x%5C..%5C"),
        at("http://[/a.png"),
        at("/tasks/1/presign/?fileuri=abcde"),
        at("data:image/png;base64,iVBORw0KGgo"),
        at("a.png", drafts=5),
        at("a.png", drafts=[None]),
        at("a.png", predictions=5),
        task("a", {**annotation(), "lead_time": "1"}),
        task("a", {**annotation(), "result": 5}),
        task("a", {**annotation(), "updated_at": "2026-13-45"}),
    ],
)
def test_one_odd_task(tmp_path, odd):
    """The others are converted; an export of such tasks alone is an error that names the file."""
    exported = converted(tmp_path, odd, at("good.png", region(SHIP, "ship"), number=2))
    assert exported.labels.image_ids.tolist() == ["good"]
    assert exported.account["action"].tolist() == ["left out"]
    with pytest.raises(
        ValueError, match=r"export\.json: expected tasks with images, got none that can be read; task 1"
    ):
        converted(tmp_path, odd)


def test_separate_rectangles_and_labels(tmp_path):
    whole = region(SHIP, "ship", id="x")
    numbers = {key: number for key, number in whole["value"].items() if key != "rectanglelabels"}
    parts = [
        {**whole, "type": "rectangle", "from_name": "rect", "value": numbers},
        {**whole, "type": "labels", "value": {**numbers, "labels": ["ship"]}},
    ]
    exported = converted(tmp_path, at("a.png", *parts))
    assert (exported.labels.classes, exported.labels.n_boxes) == (("ship",), 1)


@pytest.mark.parametrize("odd", ["x", None, [], 7, {"data": []}, {"id": 1, "data": {"image": "a.png"}}])
def test_one_entry_that_is_no_task(tmp_path, odd):
    good = at("good.png", region(SHIP, "ship"), number=2)
    exported = converted(tmp_path, good, odd, at("b.png", region(SHIP, "ship"), number=3))
    assert exported.labels.image_ids.tolist() == ["good", "b"]
    assert exported.account["action"].tolist() == ["left out"]
    assert exported.account["detail"][0].startswith("expected tasks, got as number 2 ")
    taken = read_export(write_export(tmp_path, [good, odd]))
    assert taken.labels.image_ids.tolist() == ["good"]
    assert any("left out: expected tasks, got as number 2" in note for note in taken.notes)
    with pytest.raises(ValueError, match=r"export\.json: expected tasks, got as number 1 .*; in Label Studio choose"):
        converted(tmp_path, odd)


def test_files_as_editors_and_attackers_write_them(tmp_path):
    export = write_export(tmp_path, [at("a.png", region(SHIP, "ship"))])
    export.write_bytes(codecs.BOM_UTF8 + export.read_bytes())
    assert convert(export, "dota", tmp_path / "bom").labels.image_ids.tolist() == ["a"]
    export.write_text("[" * 100_000 + "]" * 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"export\.json: expected tasks, got lists or objects in one another"):
            convert(export, "dota", tmp_path / "deep")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_ids_after_which_no_file_can_be_called(tmp_path):
    odd = ["s3://b/.hidden.png", r"s3://b/x\y.png", f"s3://b/{'x' * 252}.png", "s3://b/a.png"]
    tasks = [at(address, region(SHIP, "ship"), number=number) for number, address in enumerate(odd)]
    for to in ("dota", "yolo-obb"):
        exported = converted(tmp_path, *tasks, to=to)
        assert exported.labels.image_ids.tolist() == ["a"]
        assert exported.account["action"].tolist() == ["left out"] * 3
        assert exported.account["image_id"].tolist() == [".hidden", r"x\y", "x" * 252]
    assert len(converted(tmp_path, *tasks, to="coco", image_files=None, sizes={"a": SIZE}).labels) == 4


@pytest.mark.parametrize(
    ("on_disk", "in_task"),
    [
        ("Kühlturm.png", "Ku\u0308hlturm.png"),
        ("Ku\u0308hlturm.png", "Kühlturm.png"),
        ("Kühlturm.png", "upload/1/0a1b2c3d-Kuhlturm.png"),
        ("Ku\u0308hlturm.png", "upload/1/0a1b2c3d-Kühlturm.png"),
        (f"{'north_' * 14}.png", f"upload/1/0a1b2c3d-{'north_' * 11}n_AbCdEf1.png"),
    ],
)
def test_names_that_are_the_same_to_people(tmp_path, on_disk, in_task):
    (tmp_path / "pool").mkdir()
    for name in (on_disk, "other.png"):
        Image.new("RGB", SIZE).save(tmp_path / "pool" / name)
    exported = converted(tmp_path, at(in_task, region(SHIP, "ship")), to="yolo-obb", image_files=tmp_path / "pool")
    assert exported.labels.n_boxes == 1
    assert len([*exported.folder.glob("images/**/*.png")]) == 1
