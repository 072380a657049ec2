"""Tasks with records that Label Studio does not make, or not always."""

import pytest
from helpers.bridge.drawn import BOX, answer, assert_boxes, read, rect, rows, task


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"drafts": 5}, "expected a list in drafts of drafts, got 5"),
        ({"drafts": [None]}, "expected drafts as records or their numbers, got None"),
        ({"predictions": 5}, "expected a list in predictions of predictions, got 5"),
        ({"predictions": ["x"]}, "expected predictions as records or their numbers, got 'x'"),
        ({"predictions": [{"result": 5}]}, "expected a list in result of predictions, got 5"),
        ({"annotations": [answer(lead_time="1")]}, "expected a lead_time in seconds in annotation 5, got '1'"),
        ({"annotations": [answer(lead_time=float("nan"))]}, "expected a lead_time in seconds in annotation 5, got nan"),
        ({"annotations": [answer() | {"result": 5}]}, "expected a list in result of annotation 5, got 5"),
        ({"annotations": [answer(at="2026-13-45")]}, "expected a time in updated_at of annotation 5, got '2026-13-45'"),
        ({"annotations": [answer(at=7)]}, "expected a time in updated_at of annotation 5, got 7"),
        ({"annotations": [answer(prediction={"result": "x"})]},
         "expected a list in result of the prediction of annotation 5, got 'x'"),
        ({"data": {"image": "http://[/a.png"}}, "expected an address, got 'http://[/a.png': Invalid IPv6 URL"),
        ({"data": {"image": ["a.png", "b.png"]}},
         "expected al_image_id or image in a task's data, got {'image': ['a.png', 'b.png']}"),
    ],
)  # fmt: skip
def test_a_malformed_task_is_left_out_alone(changes, detail):
    reading = read(task(answer(rect()), number=1) | changes, task(answer(rect()), image="b", number=2))
    assert reading.labels.image_ids.tolist() == ["b"]
    (row,) = rows(reading)
    assert row[1:] == (1, None, None, "left out", detail)


def test_drafts_and_predictions_of_snapshots():
    """They are numbers there."""
    reading = read(task(answer(rect()), drafts=[7], predictions=[3]))
    assert rows(reading) == [("a", 7, None, None, "draft", "an unsubmitted draft of somebody is no label")]
    assert_boxes(reading.labels, [BOX])
