"""Label Studio's export as labels that exist already: matched with the images, with an account."""

import json
import math

import numpy as np
import pytest
from helpers import label_files
from PIL import Image

from al_rotate.bridge import read_export
from al_rotate.bridge.conversion.options import ReadOptions
from al_rotate.data import formats


@pytest.fixture
def export(tmp_path):
    """Write tasks of these images, with these annotations, and the images."""
    pool = label_files.images(tmp_path / "pool")

    def write(**annotations):
        tasks = [
            {"id": number, "data": {"image": f"/data/upload/1/0123abcd-{name}.png"}, "annotations": answers}
            for number, (name, answers) in enumerate(annotations.items(), 1)
        ]
        path = tmp_path / "export.json"
        path.write_text(json.dumps(tasks))
        return path, pool

    return write


def region(kind="rectanglelabels", label="ship", **value):
    given = {"x": 20, "y": 40, "width": 20, "height": 20, "rotation": 0, **value, kind: [label]}
    sizes = {"original_width": 200, "original_height": 100, "image_rotation": 0}
    return {"id": f"{kind}{value}", "type": kind, "from_name": "label", "to_name": "image", **sizes, "value": given}


def answer(*regions, **more):
    return [{"id": 1, "result": list(regions), **more}]


def test_part_of_the_pool_is_labelled(export):
    path, pool = export(a=answer(region(), region(x=50, rotation=30)), b=answer(), c=[])
    imported = read_export(path, images_of_labels=pool)
    assert imported.format == "label-studio"
    assert imported.labels.image_ids.tolist() == ["a", "b"]
    assert imported.labels.classes == ("ship",)
    assert imported.labels.image_sizes.tolist() == [[200, 100], [200, 100]]
    # Of the second, the upper left corner (100, 40) stays where it is.
    angle = math.radians(30)
    centre = 100 + 20 * math.cos(angle) - 10 * math.sin(angle), 40 + 20 * math.sin(angle) + 10 * math.cos(angle)
    np.testing.assert_allclose(imported.labels.boxes, [[60, 50, 40, 20, 0], [*centre, 40, 20, angle]], atol=1e-4)
    assert imported.notes == (
        "1 tasks without a submitted annotation, taken as not labelled, e.g. in c",
        "classes, sorted: ship",
        "1 labelled images without an object, taken as empty, e.g. in b",
    )


def test_what_is_not_taken_over_is_told(export):
    path, pool = export(
        a=answer(region()),
        b=answer(region(), was_cancelled=True),
        c=answer(region(), region("brushlabels")),
        elsewhere=answer(region()),
    )
    imported = read_export(path, images_of_labels=pool)
    assert imported.labels.image_ids.tolist() == ["a"]
    assert sorted(imported.labels.skipped) == ["c", "elsewhere"]
    assert imported.labels.skipped["elsewhere"] == "not among the images"
    assert "1 tasks that were skipped, taken as not labelled, e.g. in b" in imported.notes
    assert any(
        note.startswith("1 regions for which their image is held back, e.g. in task 3 (c): ") for note in imported.notes
    )
    with pytest.raises(ValueError, match=r"export\.json: expected labels that can be taken over, got none: "):
        read_export(export(c=answer(region("brushlabels")))[0], images_of_labels=pool)
    with pytest.raises(ValueError, match="got none: nobody has submitted an annotation"):
        read_export(export(c=[])[0], images_of_labels=pool)


def test_images_of_another_size_or_damaged_ones_are_held_back(export):
    path, pool = export(a=answer(region()), b=answer(region()), c=answer(region()))
    Image.new("RGB", (100, 50)).save(pool / "a.png")
    (pool / "b.png").write_bytes(b"no image")
    imported = read_export(path, images_of_labels=pool)
    assert imported.labels.image_ids.tolist() == ["c"]
    assert sorted(imported.labels.skipped) == ["a", "b"]


def test_classes_and_options(export):
    path, pool = export(a=answer(region(label="boat")), b=answer(region(label="ship")))
    options = ReadOptions(rename={"boat": "ship"})
    imported = read_export(path, ["plane", "ship"], pool, options)
    assert imported.labels.labels.tolist() == [1, 1]
    assert not any("classes" in note for note in imported.notes)
    assert read_export(path).labels.classes == ("boat", "ship")
    with pytest.raises(ValueError, match=r"export: read it by al_rotate\.bridge\.read_export"):
        formats.read(path)
