"""What counts as a label, what never does, and the account of the rest, with values computed by hand."""

import json

import numpy as np
import pytest
import shapely
from helpers.bridge.drawn import BOX, CLASSES, EARLY, answer, assert_boxes, read, rect, rows, skip, task
from hypothesis import given, settings
from hypothesis import strategies as st

from al_rotate import boxes as rboxes
from al_rotate.bridge.conversion import annotations, tasks
from al_rotate.bridge.conversion.label_config import LabelConfig
from al_rotate.data.instances import RotatedInstances

LATE = "2026-01-03T10:00:00Z"


def test_a_submitted_answer_is_a_label():
    second = rect(label="plane", name="r2", value={"rotation": 30})
    reading = read(task(answer(rect(), second, lead_time=4.5, by={"id": 3, "email": "eve@example.org"})))
    # The second: 40 along (cos 30, sin 30) and 10 along (-sin 30, cos 30) from the corner (40, 20).
    assert_boxes(reading.labels, [BOX, [69.64101615, 48.66025404, 80, 20, np.pi / 6]])
    assert reading.labels.labels.tolist() == [0, 1]
    assert reading.labels.classes == CLASSES
    assert reading.labels.image_ids.tolist() == ["a"]
    assert reading.labels.image_sizes.tolist() == [[400, 200]]
    assert reading.labels.scores is None
    assert reading.label_ids.tolist() == ["r1", "r2"]
    assert reading.costs.to_dict("list") == {"image_id": ["a"], "annotator": ["eve@example.org"], "seconds": [4.5]}
    assert (rows(reading), reading.skipped, reading.unanswered, reading.quarantined) == ([], {}, [], {})


def test_a_submitted_empty_answer_is_a_confirmed_negative():
    reading = read(task(answer()), task(answer(rect()), image="b"), sizes={"a": (30, 20)})
    assert reading.labels.counts.tolist() == [0, 1]
    assert reading.labels.image_sizes.tolist() == [[30, 20], [400, 200]]
    assert reading.costs["image_id"].tolist() == ["a", "b"]
    assert read(task(answer())).labels.image_sizes.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("who", "name"),
    [(12, "12"), ({"email": "eve@example.org", "id": 3}, "eve@example.org"), ({"id": 3}, "3"), (None, "somebody")],
)
@pytest.mark.parametrize("result", [(), (rect(),), (rect(label="wrong"),)])
def test_a_skip_is_never_a_negative(who, name, result):
    reading = read(task(skip(result=list(result), by=who, lead_time=2)))
    assert len(reading.labels) == len(reading.unanswered) == 0
    assert reading.skipped == {"a": f"skipped by {name}"}
    assert rows(reading) == [("a", 7, 5, None, "skipped", f"skipped by {name}; it teaches nothing")]
    assert reading.costs.to_dict("list") == {"image_id": ["a"], "annotator": [name], "seconds": [2.0]}


def test_drafts_and_predictions_are_no_labels():
    reading = read(
        task(predictions=[{"id": 1, "result": [rect()]}], drafts=[{"id": 2, "user": "eve", "result": [rect()]}])
    )
    assert len(reading.labels) == len(reading.predicted) == len(reading.costs) == 0
    assert (reading.unanswered, reading.quarantined, reading.skipped) == (["a"], {}, {})
    assert rows(reading) == [("a", 7, None, None, "draft", "an unsubmitted draft of eve is no label")]
    assert len(read(task(answer(), drafts=[{"result": [rect()]}])).labels) == 1


# Of rect(), moved by 3, 4 or 10 %: 12, 16 or 40 of 80 pixels, IoU 68 / 92 = 0.74, 64 / 96 = 0.67 or 1 / 3.
DIFFER, APART = "other answers differ from the latest, which counts", "other answers do not agree with the latest"
BRUSH = rect(name="r2", type="brushlabels")


@pytest.mark.parametrize(
    ("policy", "answers", "left", "conflict"),
    [
        ("latest", [answer(rect())], [40], None),
        ("latest", [answer(rect()), answer(rect(14))], [56], None),
        ("latest", [answer(rect()), answer(rect(20))], [80], f"1 of 1 {DIFFER}"),
        ("latest", [answer(rect()), answer(rect(label="plane"))], [40], f"1 of 1 {DIFFER}"),
        ("latest", [answer(rect()), answer(rect(20)), answer(rect(21)), answer()], [], f"3 of 3 {DIFFER}"),
        ("latest", [answer(rect()), answer(rect(), rect(12, name="r2"))], [40, 48], f"1 of 1 {DIFFER}"),
        ("latest", [answer(rect()), skip()], "skipped", f"1 of 1 {DIFFER}"),
        ("latest", [skip(), answer()], [], f"1 of 1 {DIFFER}"),
        ("latest", [answer(BRUSH), answer()], [], f"1 of 1 {DIFFER}"),
        ("agreement", [answer(rect())], [40], None),
        ("agreement", [answer(rect()), answer(rect(13))], [52], None),
        ("agreement", [answer(rect()), answer(rect(14))], "unanswered", f"1 of 1 {APART}"),
        ("agreement", [answer(rect()), answer(rect(10)), answer()], "unanswered", f"2 of 2 {APART}"),
        ("agreement", [answer(rect(30), rect()), answer(rect(), rect(30))], [40, 120], None),
        ("agreement", [answer(rect(), rect()), answer(rect(), rect(30))], "unanswered", f"1 of 1 {APART}"),
        ("agreement", [answer(rect()), skip()], "unanswered", f"1 of 1 {APART}"),
        ("agreement", [skip(), skip()], "skipped", None),
        ("agreement", [answer(), answer()], [], None),
        ("agreement", [answer(rect(), BRUSH), answer(rect())], "unanswered", f"1 of 1 {APART}"),
        ("ground-truth", [answer(rect(), ground_truth=True), answer(rect(20))], [40], None),
        ("ground-truth", [answer(rect()), answer(rect())], "unanswered", "none of 2 answers is marked as ground truth"),
        ("ground-truth", [answer(rect(20), ground_truth=True), answer(rect(), ground_truth=True)], [40],
         "2 answers are marked as ground truth; the latest counts"),
        *((policy, [], "unanswered", None) for policy in annotations.POLICIES),
    ],
)  # fmt: skip
def test_several_annotators(policy, answers, left, conflict):
    answers = [{**entry, "id": k, "updated_at": f"2026-01-0{k}"} for k, entry in enumerate(answers, start=1)]
    reading = read(task(*reversed(answers)), policy=policy)
    if isinstance(left, str):
        assert (len(reading.labels), "a" in reading.skipped, "a" in reading.unanswered) == (
            0, left == "skipped", left == "unanswered"
        )  # fmt: skip
    else:
        assert reading.labels.image_ids.tolist() == ["a"]
        np.testing.assert_allclose(rboxes.to_hbb(reading.labels.boxes)[:, 0], left, atol=1e-4)
    conflicts = [row for row in rows(reading) if row[4] == "conflict"]
    chosen = 1 if policy == "ground-truth" and left == [40] and conflict is None else len(answers)
    assert conflicts == (
        [("a", 7, None if left == "unanswered" else chosen, None, "conflict", conflict)] if conflict else []
    )


def test_times():
    """The answer changed last counts, not the one made last; one without a time was first; zones are respected."""
    answers = [
        answer(rect(20), at=None),
        answer(rect(30), at=None, created_at="2026-01-02T11:00:00+02:00"),
        answer(rect()),
    ]
    for order in (answers, answers[::-1]):
        assert_boxes(read(task(*order)).labels, [BOX])


@pytest.mark.parametrize(("lead_times", "seconds"), [([1.5, 2, None], 3.5), ([None, None], None), ([0.0], 0.0)])
def test_everybodys_time_counts(lead_times, seconds):
    answers = [answer(lead_time=time, by=k, at=f"2026-01-0{k}") for k, time in enumerate(lead_times, start=1)]
    costs = read(task(*answers)).costs
    assert costs["annotator"].tolist() == [str(len(lead_times))]
    np.testing.assert_equal(costs["seconds"].tolist(), [np.nan if seconds is None else seconds])


@pytest.mark.parametrize(
    ("first", "second", "boxes"),
    [
        (task(answer(rect(20), at=LATE)), task(answer(rect()), number=8), [[120, 30, 80, 20, 0]]),
        (task(answer(rect(20))), task(answer(rect(), at=LATE), number=8), [BOX]),
        (task(answer(rect())), task(number=8), [BOX]),
        (task(), task(answer(rect()), number=8), [BOX]),
        (task(answer(rect())), task(answer(BRUSH, at=LATE), number=8), [BOX]),
    ],
)
def test_two_tasks_of_one_image(first, second, boxes):
    reading = read(first, second)
    assert_boxes(reading.labels, boxes)
    assert (reading.unanswered, reading.quarantined, len(reading.costs)) == ([], {}, 1)
    conflict = ("a", 8, None, None, "conflict", "another task shows the same image; the answer given last counts")
    assert rows(reading)[-1] == conflict


def test_two_images_of_one_name():
    """In two folders, of somebody else's project: it is unclear whose labels these are."""
    tasks = [
        {"id": n, "data": {"image": f"/data/{folder}/001.jpg"}, "annotations": [answer(*regions)]}
        for n, (folder, regions) in enumerate([("positive", [rect()]), ("negative", []), ("positive", [rect()])])
    ]
    reading = read(*tasks, task(answer(rect()), image="b"))
    assert reading.labels.image_ids.tolist() == ["b"]
    assert reading.tasks.keys() == {"001", "b"}
    why = "another image has this name (/data/positive/001.jpg and /data/negative/001.jpg): neither is taken over"
    assert reading.quarantined == {"001": why}


def test_the_task_whose_answer_counts():
    late, early = task(answer(at=LATE), number=1), task(answer(rect(), at=EARLY), number=2)
    assert read(late, early).tasks == read(early, late).tasks == {"a": 1}
    assert read(task(number=1), early).tasks == {"a": 2}


def test_renamed_labels():
    reading = read(task(answer(rect(label="boat"), rect(label="plane", name="r2"))), rename={"boat": "ship"})
    assert reading.labels.labels.tolist() == [0, 1]
    assert reading.labels.classes == CLASSES
    assert "unknown label 'boat'" in read(task(answer(rect(label="boat"))), rename={"boat": "tug"}).quarantined["a"]


OLD, NEW = ({"id": k, "created_at": at, "result": [rect(x, score=score)]}
            for k, at, x, score in ((1, EARLY, 20, 0.25), (2, LATE, 30, None)))  # fmt: skip


@pytest.mark.parametrize(
    ("more", "predictions", "x", "score"),
    [
        ({"parent_prediction": 1}, [OLD, NEW], 120, 0.25),
        ({"parent_prediction": 1, "prediction": NEW}, [OLD], 160, 1),
        ({"parent_prediction": 1, "prediction": {}}, [NEW, OLD], 120, 0.25),
        ({"parent_prediction": 9}, [NEW, OLD], 160, 1),
        ({}, [NEW, OLD], 160, 1),
        ({"prediction": {"id": 1, "result": []}}, [NEW, OLD], None, None),
        ({"parent_prediction": 1}, [1, 2], None, None),
        ({}, [], None, None),
    ],
)
def test_what_annotators_started_from(more, predictions, x, score):
    reading = read(task(answer(rect(), **more), predictions=predictions))
    assert_boxes(reading.labels, [BOX])
    assert reading.predicted.image_ids.tolist() == ["a"]
    if x is None:
        assert (reading.predicted.n_boxes, reading.predicted_ids.tolist()) == (0, [])
    else:
        assert_boxes(reading.predicted, [[x, 30, 80, 20, 0]])
        assert reading.predicted_ids.tolist() == reading.label_ids.tolist() == ["r1"]
        assert reading.predicted.scores.tolist() == [score]


def test_a_task_without_an_image():
    reading = read(task(answer(rect())) | {"data": {"photo": "x.png"}}, task(answer()))
    assert reading.labels.image_ids.tolist() == ["a"]
    (row,) = rows(reading)
    assert row[:5] == ("", 7, None, None, "left out")
    assert row[5].startswith("expected al_image_id or image in a task's data, got {'photo'")
    shown = {"id": 1, "data": {"photo": "/data/upload/3/0123abcd-P1.png"}, "annotations": [answer()]}
    assert read(shown, image_key="photo").labels.image_ids.tolist() == ["P1"]


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([task()], {"policy": "newest"}, r"expected a policy of latest, ground-truth, agreement, got 'newest'"),
        (["x"], {}, r"expected tasks with data and annotations, got x"),
        ([{"annotations": []}], {}, r"expected tasks with data and annotations, got \{'annotations'"),
        ([{"id": 1, "data": {}}], {}, r"expected tasks with data and annotations, got \{'id': 1"),
        ([task() | {"annotations": None}], {}, r"expected tasks with data and annotations, got \{'id': 7"),
        ([task(5)], {}, r"expected tasks with data and annotations, got \{'id': 7"),
    ],
)
def test_what_is_no_task(tasks, options, message):
    with pytest.raises(ValueError, match=message):
        read(*tasks, **options)


def test_no_tasks():
    reading = read()
    assert len(reading.labels) == len(reading.account) == len(reading.costs) == 0
    assert tuple(reading.account.columns) == annotations.ACCOUNT


sides = st.integers(1, 5000)


@st.composite
def detections(draw):
    width, height = draw(sides), draw(sides)
    number = {"allow_nan": False, "width": 32}
    row = st.tuples(
        st.floats(-50, width + 50, **number),
        st.floats(-50, height + 50, **number),
        st.floats(0.5, 3000, **number),
        st.floats(0.015625, 0.9990234375, **number),  # h / w; the two angles of a square cannot be told apart
        st.floats(-1.5703125, 1.5703125, **number),
        st.sampled_from([0, 1]),
        st.floats(0, 1, **number),
    )
    # Apart by more than is lost on the way: of boxes that come back as one, one is dropped.
    rows = draw(st.lists(row, max_size=5, unique_by=lambda row: (round(row[0], 2), round(row[1], 2))))
    boxes = [[x, y, max(w, 4), max(w, 4) * ratio, theta] for x, y, w, ratio, theta, *_ in rows]
    frame = shapely.box(0, 0, width, height)
    shapes = [shapely.Polygon(corners) for corners in rboxes.to_corners(np.reshape(boxes, (-1, 5)))]
    # What hardly lies in the image is neither sent nor taken for a label.
    shown = [k for k, shape in enumerate(shapes) if shape.intersection(frame).area > 0.11 * shape.area]
    boxes, rows = np.reshape([boxes[k] for k in shown], (-1, 5)), [rows[k] for k in shown]
    labels, scores = [row[5] for row in rows], [row[6] for row in rows]
    return RotatedInstances(["a"], [0, len(rows)], boxes, labels, scores, classes=CLASSES), (width, height)


@settings(max_examples=200, deadline=None)
@given(detections())
def test_a_submitted_prediction_survives_the_round_trip(predicted):
    boxes, size = predicted
    sent = tasks.image_task("a", "x.png", size, LabelConfig(CLASSES), boxes, model_version="m", uncertainty=0.5)
    sent = json.loads(json.dumps(sent))
    submitted = answer(*sent["predictions"][0]["result"], prediction=sent["predictions"][0])
    reading = read({**sent, "annotations": [submitted]}, sizes={"a": size})
    assert (reading.unanswered, reading.quarantined) == ([], {})
    for instances in (reading.labels, reading.predicted):
        assert_boxes(instances, boxes.boxes)
        np.testing.assert_array_equal(instances.labels, boxes.labels)
    np.testing.assert_array_equal(reading.predicted.scores, boxes.scores)
    assert reading.label_ids.tolist() == reading.predicted_ids.tolist()
    assert len({*reading.label_ids}) == boxes.n_boxes
