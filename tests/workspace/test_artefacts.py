"""What a round's tables keep of one answer after the other."""

import pandas as pd

from al_rotate import RotatedInstances
from al_rotate.loop.annotator import Answer
from al_rotate.workspace import COST_COLUMNS, artefacts


def labels_of(*image_ids):
    return RotatedInstances.empty(list(image_ids), ["ship"])


def table(*rows, columns=("image_id", "action", "detail")):
    return pd.DataFrame(rows, columns=list(columns))


def keep(folder, answer):
    artefacts.update_tables(folder, {"corrections": answer.corrections, "account": answer.account}, answer.reported)


def kept(folder, name="account"):
    return pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False).values.tolist()


def test_what_is_told_last_of_an_image_counts(tmp_path):
    first = table(("01", "dropped", "tiny"), ("01", "noted", "odd"), ("NA", "draft", "eve"))
    keep(tmp_path, Answer(labels_of("01"), unanswered=["NA"], account=first))
    assert kept(tmp_path) == first.values.tolist()
    # NA is answered now and there is nothing to tell; of 01 nothing was looked at; c comes in.
    second = Answer(labels_of("NA", "c"), account=table(("c", "noted", "outside")))
    keep(tmp_path, second)
    assert kept(tmp_path) == [*first.values.tolist()[:2], ["c", "noted", "outside"]]
    keep(tmp_path, second)
    assert len(kept(tmp_path)) == 3
    # Mended: nothing is left to tell, and the file says so.
    keep(tmp_path, Answer(labels_of("01", "c"), account=table()))
    assert (tmp_path / "account.csv").read_text().strip() == "image_id,action,detail"


def test_nothing_to_tell_makes_no_file(tmp_path):
    keep(tmp_path, Answer(labels_of("a")))
    keep(tmp_path, Answer(labels_of("a"), account=table(), corrections=table(columns=["image_id", "what"])))
    assert list(tmp_path.iterdir()) == []


def test_corrections_beside_the_account(tmp_path):
    made = table(("a", "added"), ("b", "deleted"), columns=["image_id", "what"])
    keep(tmp_path, Answer(labels_of("a", "b"), corrections=made))
    again = table(("a", "kept"), columns=["image_id", "what"])
    keep(tmp_path, Answer(labels_of("a"), {"b": "dark"}, corrections=again))
    assert kept(tmp_path, "corrections") == [["a", "kept"]]
    assert not (tmp_path / "account.csv").exists()


def test_only_what_was_asked_for_is_taken_over():
    costs = pd.DataFrame([(i, "eve", 3.0, 0, 0, 0, 0) for i in "abs"], columns=["image_id", *COST_COLUMNS])
    made = table(("a", "added"), ("b", "added"), columns=["image_id", "what"])
    answer = Answer(labels_of("b", "a"), {"s": "dark"}, costs, ["u", "v"], made, table(("a", "noted", "odd")), "now")
    cut = answer.only({"a", "u"})
    assert (cut.labels.image_ids.tolist(), cut.skipped, cut.unanswered, cut.cursor) == (["a"], {}, ["u"], "now")
    assert cut.costs["image_id"].tolist() == cut.corrections["image_id"].tolist() == ["a"]
    why = "answered, but this loop has not asked for it (yet): its labels are not taken over"
    assert cut.account.values.tolist() == [["a", "noted", "odd"], ["b", "left out", why], ["s", "left out", why]]
    everything = Answer(labels_of("a")).only({"a"})
    assert (everything.account, everything.corrections) == (None, None)
