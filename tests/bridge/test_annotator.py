"""Label Studio as the annotator of a loop: people answer at a real server, the loop goes round."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.label_studio import Studio, by_image, drawn, join, predicted, redrawn
from helpers.noisy import CLASSES, NoisyLearner, labels_of
from PIL import Image

from al_rotate import ActiveLoop
from al_rotate.boxes.convert import canonical
from al_rotate.bridge.annotator import LabelStudioAnnotator
from al_rotate.bridge.client.api import NotAllowed
from al_rotate.bridge.connection import Connection, connect
from al_rotate.bridge.conversion.label_config import to_xml
from al_rotate.data import synthetic
from al_rotate.data.images import UnreadableImage


@pytest.mark.mm
def test_the_whole_loop(studio: Studio, scenes, detector, tmp_path):
    """Query, push, corrections, pull, fine-tune, second query; the labels are what people made of the boxes."""
    from al_rotate.detection.small_models import small_rtmdet

    size, options = (128, 128), small_rtmdet(128, iterations=4)
    pool = studio.root / tmp_path.name
    pool.symlink_to(scenes.images)
    folder = tmp_path / "work"
    classes = synthetic.CLASSES
    ActiveLoop(folder, pool, classes, detector, "entropy", budget=4, train_options=options).close()
    made = join(studio, folder, classes, shown=0.05)

    with ActiveLoop(folder) as loop:
        asked = loop.query()
    tasks = by_image(studio, made.project)
    assert list(tasks) == asked["image_id"].tolist()
    assert [task["data"]["al_rank"] for task in tasks.values()] == [1, 2, 3, 4]
    wanted = {}
    # The first: one box moved and turned, one of another class, one deleted, one added; the others are kept.
    first, second, third, fourth = tasks
    result, boxes = predicted(tasks[first])
    assert len(result) >= 4
    moved = boxes[0] + [3.25, -2.5, 1.5, -0.5, 0.3]
    other = classes[(classes.index(result[1]["value"]["rectanglelabels"][0]) + 1) % len(classes)]
    new = np.array([64.5, 50.25, 30, 12, -0.7])
    studio.submit(
        tasks[first],
        [
            redrawn(result[0], moved, size),
            redrawn(result[1], boxes[1], size, other),
            *result[3:],
            drawn(new, classes[0], size),
        ],
        seconds=42.5,
    )
    names = [region["value"]["rectanglelabels"][0] for region in result]
    wanted[first] = [moved, boxes[1], *boxes[3:], new], [names[0], other, *names[3:], classes[0]]
    # The second shows nothing, the third nobody can judge, the fourth is right as it is.
    studio.submit(tasks[second], [], seconds=3)
    studio.skip(tasks[third])
    wanted[second] = [], []
    with ActiveLoop(folder) as loop:
        part = loop.collect().set_index("image_id")["status"]
        assert part.to_dict() == {first: "labelled", second: "labelled", third: "skipped", fourth: "queried"}
        assert loop.workspace.rounds()[0].stage == "queried"
    result, boxes = predicted(tasks[fourth])
    studio.submit(tasks[fourth], result)
    wanted[fourth] = boxes, [region["value"]["rectanglelabels"][0] for region in result]

    with ActiveLoop(folder) as loop:
        assert loop.collect()["status"].tolist() == ["labelled", "labelled", "skipped", "labelled"]
        labels = loop.workspace.labels()
        assert {*labels.image_ids} == {*wanted}
        for image_id, (boxes, names) in wanted.items():
            found = labels[image_id]
            assert [classes[k] for k in found.labels] == names
            np.testing.assert_allclose(found.boxes, canonical(np.reshape(boxes, (-1, 5))), atol=1e-3)
        ledger = loop.workspace.ledger().set_index("image_id")
        assert ledger.loc[first, ["seconds", "n_added", "n_moved", "n_relabelled", "n_deleted"]].tolist() == [
            42.5,
            *(1, 1, 1, 1),
        ]
        assert ledger.loc[fourth, ["n_added", "n_moved", "n_relabelled", "n_deleted"]].tolist() == [0, 0, 0, 0]
        assert ledger["annotator"].unique().tolist() == [studio.server.email]
        loop.train()
        trained = loop.workspace.rounds()[0].checkpoint
        assert trained.read_bytes() != (folder / loop.settings.checkpoint).read_bytes()
        again = loop.query()
        assert not {*again["image_id"]} & {*asked["image_id"]}
        page = loop.report().read_text()
    assert "What people changed" in page
    tasks = by_image(studio, made.project)
    assert list(tasks) == [*asked["image_id"], *again["image_id"]]
    versions = [[one["model_version"] for one in task["predictions"]] for task in tasks.values()]
    assert versions == [["initial"]] * 4 + [["round-000"]] * 4
    assert len(tasks[first]["annotations"]) == 1
    table = pd.read_csv(folder / "rounds" / "000" / "corrections.csv")
    assert table[table["image_id"] == first]["what"].value_counts()[["changed", "deleted", "added"]].tolist() == [
        2,
        1,
        1,
    ]


TRUTH = labels_of(8)


@pytest.fixture
def loop(studio, tmp_path):
    """A loop over eight images with a learner that needs no GPU, answered at the server; it has asked for four."""
    pool = studio.root / tmp_path.name
    pool.mkdir()
    for image_id in TRUTH.image_ids:
        Image.new("RGB", (128, 128), (90, 90, 90)).save(pool / f"{image_id}.png")

    def open_loop():
        return ActiveLoop(folder, learner=NoisyLearner(TRUTH))

    folder = tmp_path / "work"
    ActiveLoop(folder, pool, CLASSES, budget=4, learner=NoisyLearner(TRUTH)).close()
    join(studio, folder, CLASSES)
    with open_loop() as one:
        one.query()
    return open_loop


@pytest.fixture
def project(loop, tmp_path):
    return Connection.load(tmp_path / "work").project


def answer(studio, task, image_id):
    """Draw the true boxes."""
    pairs = zip(TRUTH[image_id].boxes, TRUTH[image_id].labels, strict=True)
    regions = [drawn(box, CLASSES[label], (128, 128), f"r{k}") for k, (box, label) in enumerate(pairs)]
    return studio.submit(task, regions)


def account(folder, number=0):
    path = folder / "rounds" / f"{number:03d}" / "account.csv"
    return pd.read_csv(path).fillna("") if path.exists() else pd.DataFrame(columns=["image_id", "action", "detail"])


def test_a_loop_that_starts_from_nothing(studio, loop, project, tmp_path):
    """No predictions to send in the first round; the second has some, and its order is the ranking's."""
    tasks = by_image(studio, project)
    assert [len(task["predictions"]) for task in tasks.values()] == [0] * 4
    for image_id, task in tasks.items():
        answer(studio, task, image_id)
    with loop() as one:
        one.collect()
        np.testing.assert_allclose(one.workspace.labels().boxes, TRUTH.subset(sorted(tasks)).boxes, atol=1e-3)
        one.train()
        selection = one.query()
    later = by_image(studio, project)
    assert list(later)[4:] == selection["image_id"].tolist()
    for row in selection.itertuples():
        task = later[row.image_id]
        assert task["data"]["al_uncertainty"] == pytest.approx(row.score)
        assert [one["score"] for one in task["predictions"]] == [pytest.approx(1 - row.score)]


def test_a_deleted_annotation_withdraws_its_label(studio, loop, project, tmp_path):
    tasks = by_image(studio, project)
    made = {image_id: answer(studio, task, image_id) for image_id, task in tasks.items()}
    gone, *others = tasks
    with loop() as one:
        assert (one.collect()["status"] == "labelled").all()
        assert one.workspace.rounds()[0].stage == "collected"
        one.train()
        one.query()
        studio.call("DELETE", f"annotations/{made[gone]['id']}/")
        one.collect()
        assert sorted(one.workspace.labels().image_ids) == sorted(others)
        assert one.workspace.ids("queried").count(gone) == 1
        answer(studio, by_image(studio, project)[gone], gone)
        one.collect()
        assert sorted(one.workspace.labels().image_ids) == sorted(tasks)


def test_labels_in_doubt_are_asked_for_in_their_own_tasks(studio, loop, project, tmp_path):
    """The first answer to a task does not answer the second question; an update does, even one that changes nothing."""
    with loop() as one:
        for image_id, task in by_image(studio, project).items():
            answer(studio, task, image_id)
        one.collect()
        one.train()
        wrong, right, *_ = (i for i in one.query()["image_id"] if TRUTH[i].n_boxes)
        for image_id, task in by_image(studio, project).items():
            if image_id == wrong:
                made = studio.submit(task, [])  # somebody takes all boxes away
            elif not task["annotations"]:
                answer(studio, task, image_id)
        one.collect()
        one.train()
        assert one.workspace.labels()[wrong].n_boxes == 0
        before = by_image(studio, project)
        asked = one.review(8)["image_id"].tolist()
        assert wrong in asked
    tasks = by_image(studio, project)
    assert {i: task["id"] for i, task in tasks.items()} == {i: task["id"] for i, task in before.items()}
    data = tasks[wrong]["data"]
    assert (data["al_round"], data["al_rank"]) == (2, asked.index(wrong) + 1)
    assert "has no label" in data["al_why"]
    assert data["al_image_id"] == wrong
    assert data["image"] == before[wrong]["data"]["image"]
    assert all(tasks[i]["data"] == before[i]["data"] for i in tasks if i not in asked)

    def states(one):
        return one.collect().set_index("image_id")["status"].to_dict()

    with loop() as one:  # another process, which remembers when it asked
        assert {*states(one).values()} == {"queried"}
        assert one.workspace.labels()[wrong].n_boxes == 0
        pairs = zip(TRUTH[wrong].boxes, TRUTH[wrong].labels, strict=True)
        regions = [drawn(box, CLASSES[label], (128, 128), f"r{k}") for k, (box, label) in enumerate(pairs)]
        studio.call("PATCH", f"annotations/{made['id']}/", {"result": regions})
        assert states(one) == {i: "labelled" if i == wrong else "queried" for i in asked}
        np.testing.assert_allclose(one.workspace.labels()[wrong].boxes, TRUTH[wrong].boxes, atol=1e-3)
        one.train()
        # Asked about what is right, somebody presses Update: that confirms it.
        one.workspace.begin_round()
        right = right if right in one.workspace.ids("labelled") else wrong
        one.workspace.record_query(3, [right], [0.5], "review", again=True)
        assert one.collect()["status"].tolist() == ["queried"]
        (made,) = by_image(studio, project)[right]["annotations"]
        studio.call("PATCH", f"annotations/{made['id']}/", {"result": made["result"]})
        labels = one.workspace.labels()
        assert one.collect()["status"].tolist() == ["labelled"]
        assert one.workspace.labels() == labels


def test_a_deleted_task(studio, loop, project, tmp_path):
    """Answered before: its labels stay. Not answered yet: it is made and asked again. Both are told."""
    tasks = by_image(studio, project)
    kept, lost, *others = tasks
    answer(studio, tasks[kept], kept)
    with loop() as one:
        one.collect()
        for image_id in (kept, lost):
            studio.call("DELETE", f"tasks/{tasks[image_id]['id']}/")
        one.collect()
        assert one.workspace.labels().image_ids.tolist() == [kept]
    there = by_image(studio, project)
    assert {*there} == {lost, *others}
    assert there[lost]["data"]["al_rank"] == 2
    told = account(tmp_path / "work").set_index("image_id")
    assert f"task {tasks[lost]['id']} was deleted in Label Studio before it was answered" in told.loc[lost, "detail"]
    answer(studio, there[lost], lost)
    with loop() as one:
        one.collect()
        assert sorted(one.workspace.labels().image_ids) == sorted([kept, lost])


def test_a_renamed_label_loses_nothing(studio, loop, project, tmp_path):
    tasks = by_image(studio, project)
    first = next(image_id for image_id in tasks if {0, 1} & {*TRUTH[image_id].labels})
    xml = studio.call("GET", f"projects/{project}/")["label_config"]
    renamed = {"ship": "boat", "plane": "jet", "court": "court"}
    for old, new in renamed.items():
        xml = xml.replace(f'value="{old}"', f'value="{new}"')
    studio.call("PATCH", f"projects/{project}/", {"label_config": xml})
    pairs = zip(TRUTH[first].boxes, TRUTH[first].labels, strict=True)
    regions = [drawn(box, renamed[CLASSES[k]], (128, 128), f"r{n}") for n, (box, k) in enumerate(pairs)]
    studio.submit(tasks[first], regions)
    with loop() as one:
        with pytest.raises(ValueError, match=r"it lacks ship, plane and has boat, jet, court: .* --rename"):
            one.collect()
        assert one.workspace.counts()["queried"] == 4
    settings = tmp_path / "work" / "label_studio.json"
    rename = {"boat": "ship", "jet": "plane"}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"rename": rename}))
    with loop() as one:
        one.collect()
        assert one.workspace.labels().image_ids.tolist() == [first]
        np.testing.assert_array_equal(one.workspace.labels().labels, TRUTH[first].labels)
        for image_id, task in tasks.items():
            if image_id != first:
                studio.submit(task, [])
        one.collect()
        one.train()
        asked = one.query()["image_id"]  # predictions go out under the labels' new names
    seen = {
        r["value"]["rectanglelabels"][0]
        for i, t in by_image(studio, project).items()
        if i in {*asked}
        for r in predicted(t)[0]
    }
    assert seen <= {*renamed.values()}
    assert seen & {"boat", "jet"}


def test_labels_in_another_order(studio, loop, project, tmp_path):
    """All are skipped, then somebody answers after all: nothing is pushed, and the classes are ours all the same."""
    studio.call("PATCH", f"projects/{project}/", {"label_config": to_xml(CLASSES[::-1])})
    tasks = by_image(studio, project)
    for task in tasks.values():
        studio.skip(task)
    with loop() as one:
        assert (one.collect()["status"] == "skipped").all()
    for image_id, task in tasks.items():
        answer(studio, task, image_id)
    with loop() as one:
        assert (one.collect()["status"] == "labelled").all()
        truth = TRUTH.subset(sorted(tasks))
        np.testing.assert_array_equal(one.workspace.labels().labels, truth.labels)


def test_labels_that_the_project_calls_otherwise(studio, tmp_path):
    """Said when connecting: a new project has the labels' names, and boxes come back as our classes."""
    pool = studio.root / tmp_path.name
    pool.mkdir()
    for image_id in TRUTH.image_ids:
        Image.new("RGB", (128, 128)).save(pool / f"{image_id}.png")
    folder = tmp_path / "work"
    ActiveLoop(folder, pool, CLASSES, budget=2, learner=NoisyLearner(TRUTH)).close()
    made = join(studio, folder, CLASSES, rename={"boat": "ship"})
    assert 'value="boat"' in studio.call("GET", f"projects/{made.project}/")["label_config"]
    with ActiveLoop(folder, learner=NoisyLearner(TRUTH)) as one:
        asked = one.query()["image_id"].tolist()
        for task in by_image(studio, made.project).values():
            studio.submit(task, [drawn([50, 50, 30, 12, 0.3], "boat", (128, 128))])
        one.collect()
        assert sorted(one.workspace.labels().image_ids) == sorted(asked)
        assert one.workspace.labels().labels.tolist() == [CLASSES.index("ship")] * 2


def test_another_workspace_of_the_same_name(studio, loop, project, tmp_path):
    title = studio.call("GET", f"projects/{project}/")["title"]
    other = tmp_path / "elsewhere" / title
    ActiveLoop(other, studio.root / tmp_path.name, CLASSES, budget=2, learner=NoisyLearner(TRUTH)).close()
    with pytest.raises(ValueError, match="and holds another workspace's tasks: say --project"):
        connect(other, studio.server.url, studio.server.token, CLASSES, images="upload")
    assert Connection.load(other) is None
    assert connect(other, studio.server.url, studio.server.token, CLASSES, title, images="upload").project == project


def test_files_that_are_away_when_the_answers_come(studio, loop, project, tmp_path):
    """An unmounted disk: what was answered is taken over, and what was not is not skipped."""
    first, *others = tasks = by_image(studio, project)
    (studio.root / tmp_path.name).rename(studio.root / f"{tmp_path.name} away")
    answer(studio, tasks[first], first)
    with loop() as one, pytest.raises(UnreadableImage, match="none of the 4 images asked for can be read"):
        one.collect()
    (studio.root / f"{tmp_path.name} away").rename(studio.root / tmp_path.name)
    for image_id in (first, others[0]):
        (studio.root / tmp_path.name / f"{image_id}.png").unlink()
    with loop() as one:
        status = one.collect().set_index("image_id")["status"].to_dict()
    assert status == {first: "labelled", **dict.fromkeys(others, "queried")}


def test_an_earlier_rounds_deleted_task_is_asked_again(studio, loop, project, tmp_path):
    tasks = by_image(studio, project)
    first, *others = tasks
    answer(studio, tasks[first], first)
    with loop() as one:
        one.collect()
        one.train()
        one.query()
        studio.call("DELETE", f"tasks/{tasks[others[0]]['id']}/")
        one.collect()
    there = by_image(studio, project)
    assert {*others} <= {*there}
    answer(studio, there[others[0]], others[0])
    with loop() as one:
        one.collect()
        assert others[0] in one.workspace.labels().image_ids


def test_an_image_that_is_gone(studio, loop, project, tmp_path):
    """It is not pushed, and answered as skipped with the reason; what is pushed already is asked all the same."""
    for image_id, task in by_image(studio, project).items():
        answer(studio, task, image_id)
    with loop() as one:
        one.collect()
        one.train()
        missing = sorted(one.workspace.ids("unlabelled"))[0]
        one.workspace.paths([missing])[missing].unlink()
        one.query()
        assert missing not in by_image(studio, project)
        status = one.collect().set_index("image_id")["status"]
        assert status[missing] == "skipped"
    told = account(tmp_path / "work", 1).set_index("image_id")
    assert "cannot be read" in told.loc[missing, "detail"]


def test_a_token_that_is_wrong(studio, loop, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("0" * 40)
    with loop() as one, pytest.raises(NotAllowed, match="does not take this token"):
        one.collect()
    (tmp_path / "token").unlink()
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    with loop() as one, pytest.raises(NotAllowed, match="LABEL_STUDIO_API_KEY"):
        one.collect()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", studio.server.token)
    with loop() as one:
        assert (one.collect()["status"] == "queried").all()


def test_a_workspace_that_is_not_connected(tmp_path):
    with pytest.raises(ValueError, match="is not connected to Label Studio: al-rotate connect"):
        LabelStudioAnnotator(tmp_path)
    (tmp_path / "label_studio.json").write_text('{"url": "x"}')
    with pytest.raises(ValueError, match=r"expected a connection in .*label_studio\.json"):
        LabelStudioAnnotator(tmp_path)
