"""The four answers, at every stage of a loop."""

import pytest
from helpers.loops.page import CLASSES, make
from helpers.noisy import Start

from al_rotate.loop import Answer
from al_rotate.report.summary import answers

QUESTIONS = ["Is it getting better?", "What did it cost?", "Is another round worth it?", "What to do next?"]


def told(loop):
    found = answers(loop.workspace)
    assert [answer.question for answer in found] == QUESTIONS
    return found


def test_what_comes_next(tmp_path, scenes):
    """Each command is the one that works then, and the last image is answered in the end."""
    with make(tmp_path / "my work", scenes, budget=8) as loop:
        seen = [told(loop)[3]]
        loop.query()
        seen.append(told(loop)[3])
        loop.collect()
        seen.append(told(loop)[3])
        loop.train()
        loop.run(2)
        seen.append(told(loop)[3])
    assert [answer.figure for answer in seen] == ["Query", "Label", "Train", "Export"]
    commands = ["query", "collect", "train", "export"]
    assert [answer.command.split("'")[0] for answer in seen] == [f"al-rotate {name} " for name in commands]
    assert all("'my work'" in answer.command for answer in seen)  # as a shell takes it
    assert seen[0].sentence == "Ask for labels of the most useful of 16 images left."
    assert seen[1].sentence == "8 images wait for an answer. Then collect."


def test_better_and_cost(tmp_path, scenes):
    with make(tmp_path, scenes, detector=Start(taught=40, classes=CLASSES)) as loop:
        assert told(loop)[0].figure == "not measured"
        assert told(loop)[1].figure == "nothing yet"
        loop.run(1)
        history, ledger = loop.workspace.history(), loop.workspace.ledger()
        better, cost, *_ = told(loop)
        assert better.figure == f"{100 * history['mAP'][0]:.1f} %"
        assert better.sentence == "mAP at rotated IoU 0.5 after the first round."
        assert cost.figure == f"{ledger['seconds'].sum():.0f} s"  # less than a minute
        assert f"4 images answered, with {ledger['n_boxes'].sum()} box" in cost.sentence
        assert f"{ledger['seconds'].mean():.0f} s an image in the last round." in cost.sentence
        loop.run(2)
        first, last = 100 * loop.workspace.history()["mAP"]
        sentence = f"{last - first:+.1f} points in the last round, {first:.1f} % after the first round."
        assert told(loop)[0].sentence.endswith(sentence)


@pytest.mark.parametrize("imported", [0, 3])
def test_answers_of_which_nobody_took_the_time(tmp_path, scenes, imported):
    labels = scenes[1]

    class Person:
        def push(self, query):
            self.asked = query.image_ids

        def pull(self, since=None):
            return Answer(labels.subset(self.asked), {})

    changes = {"labels": labels.subset(labels.image_ids[:imported])} if imported else {}
    with make(tmp_path, scenes, annotator=Person(), test=None, **changes) as loop:
        if imported:
            loop.train()
        loop.query()
        loop.collect()
        _, cost, *_ = told(loop)
    assert cost.figure == "4 images"
    assert "How long they took is not known." in cost.sentence
    assert ("3 images had labels already." in cost.sentence) == bool(imported)
