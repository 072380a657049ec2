"""The claim in a table and in words, on tables whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.evidence import claim as claims
from experiments.evidence.claim import SHORT, areas, beside, claim, complete, sentence, together, training_lead
from experiments.evidence.savings import BALANCED, DETECTED, PSEUDO, RANDOM


def cells_of(text: str, row: int = 2) -> dict[str, str]:
    lines = text.splitlines()
    head, cells = ([cell.strip() for cell in lines[k].strip("|").split("|")] for k in (0, row))
    return dict(zip(head, cells, strict=True))


def column_of(text: str, number: int = 1) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {row[0]: row[number] for row in (rows[0], *rows[2:])}


def test_the_table_of_the_claim(paced):
    found = paced({RANDOM: [1.0] * 3, PSEUDO: [1.25] * 3, DETECTED: [2.0] * 3, "best": [4.0] * 3})
    text = claim({"pool": found}, "best")
    row = column_of(text)
    assert (row["12 s a drawn box"], row["seeds"], row["mAP of `random` then"]) == ("pool", "3", "54.9")
    # 160 boxes of 12 s and 5 tiles of 5 s; by whole photographs 5 objects for 6 boxes, and half of the opening
    assert row["from nothing, by tiles"] == f"{(160 * 12 + 25) / 3600:.1f} h"
    assert row["from nothing, by whole photographs"] == f"{(160 * 10 + 12.5) / 3600:.1f} h"
    assert [key for key in row if key.endswith(" alone")] == [
        f"{step} alone" for step in ("pre-annotation", "detected", "selection")
    ]
    saved = [int(row[f"saved by `{arm}`"].split()[0]) for arm in (RANDOM, DETECTED, "best")]
    assert saved == sorted(saved)
    # After 800 s log(1 + 4 * 8) / 4 to log(1 + 2 * 8) / 4
    assert row["points ahead of `random-detected` at the end"].startswith(f"{25 * np.log(33 / 17):+.1f} [")
    # Kept boxes take 1.5 s: 1/8 of what whole photographs take for them, and a quarter of these.
    in_all, paid = (int(row[key].split()[0]) for key in ("saved by `best`", "saved by `best`, known paid"))
    assert in_all > 90
    assert 40 < paid < in_all
    dear = column_of(claim({"pool": found}, "best", price="35 s"))
    assert dear["from nothing, by tiles"] == f"{(160 * 35 + 25) / 3600:.1f} h"


def test_what_selection_saves_is_the_shift_with_targets_beside_it(straight):
    tables = {
        "a": straight({RANDOM: [1.0] * 3, DETECTED: [2.0] * 3, "best": [2.5] * 3}),
        "b": straight({RANDOM: [1.0] * 3, DETECTED: [1.0] * 3, "best": [1.6] * 3}),
    }
    text = claim(tables, "best")
    row = column_of(text)
    assert row["by shift, against `random-detected`"] == "+20 % [+20, +20]"
    assert row["by shift, against `random`"] == "+60 % [+60, +60]"
    assert row["by targets, against `random-detected`"].startswith("+20 % [")
    # Together: the mean of the logarithms of 2.5 / 2 and of 1.6 is that of the square root of 2.
    assert together(tables, "best", DETECTED).saving == pytest.approx([1 - 0.5**0.5] * 3)
    both = column_of(text, 3)
    assert both["12 s a drawn box"] == "a + b"
    assert both["by shift, against `random-detected`"] == "+29 % [+29, +29]"
    assert both["by shift, against `random`"] == "+50 % [+50, +50]"
    assert {both[key] for key in ("saved by `best`", "selection alone", "by targets, against `random-detected`")} == {
        ""
    }


@pytest.mark.filterwarnings("ignore:seeds .* are left out")
def test_training_and_pseudo_labels_stand_beside_with_their_own_seeds(straight):
    arms = {RANDOM: [1.0] * 4, DETECTED: [2.0] * 4}
    alone = straight(arms)
    found = pd.concat([alone, straight({SHORT: [0.5] * 3, PSEUDO: [1.25] * 2})])
    assert {*complete(found, DETECTED)["seed"]} == {0, 1, 2, 3}
    assert claim({"pool": complete(found, DETECTED)}, DETECTED) == claim({"pool": alone}, DETECTED)
    training, pseudo = (cells_of(beside({"pool": found}), row) for row in (2, 3))
    assert (training["what"], training["against"]) == ("training: `random`", "`random-short`")
    assert (training["seeds"], training["by shift"]) == ("3", "+50 % [+50, +50]")
    assert (pseudo["seeds"], pseudo["by shift"]) == ("2", "+20 % [+20, +20]")
    assert pseudo["by targets"].startswith("+20 % [")
    begun = pd.concat([alone, straight({SHORT: [0.5]}).query("round < 3")])
    assert cells_of(beside({"pool": begun}))["seeds"] == "none finished"
    assert beside({"pool": alone}) == ""


def test_with_one_class_randomness_by_class_is_not_demanded(straight):
    found = straight({RANDOM: [1.0] * 2, DETECTED: [2.0] * 2, "best": [2.5] * 2}).assign(**{"AP/ship": 0.5})
    ships = complete(found, "best", BALANCED)
    assert "Against `random-detected` its selection saves +20 %" in sentence("ships", ships, "best", BALANCED)
    assert (
        column_of(claim({"ships": ships}, "best", BALANCED))["by shift, against `random-class`"] == "+20 % [+20, +20]"
    )
    assert together({"ships": ships}, "best", BALANCED).saving[0] == pytest.approx(0.2)
    with pytest.raises(ValueError, match="expected the arms random-class in the table"):
        complete(found.assign(**{"AP/car": 0.5}), "best", BALANCED)


def test_the_claim_in_words_names_the_start_and_the_quicker_way(paced):
    found = paced({RANDOM: [1.0] * 3, DETECTED: [2.0] * 3, "best": [4.0] * 3})
    text = sentence("pool", found, "best")
    # 4 photographs of 5 s, and 20 objects of 12 s
    assert "starting from 4 photographs with labels, which take 4 minutes from nothing" in text
    assert "by whole photographs, the quicker way" in text
    assert text.count("%") == 4  # three shares, and the targets


def test_only_arms_of_the_claim_count(paced):
    found = paced({RANDOM: [1.0] * 2, DETECTED: [2.0] * 2, "best": [4.0] * 2, "other": [1.0] * 2})
    unfinished = found[(found["name"] != "other") | (found["round"] < 2)]
    assert {*complete(unfinished, "best")["seed"]} == {0, 1}
    assert {*complete(found, "best")["name"]} == {RANDOM, DETECTED, "best"}
    assert {*complete(found, "best", "other")["name"]} == {RANDOM, DETECTED, "best", "other"}


def test_more_than_one_state_of_the_code_is_refused(paced):
    found = paced({RANDOM: [1.0] * 2, DETECTED: [2.0] * 2, "other": [2.0] * 2})
    found.loc[found["name"] == "other", "code"] = "def"
    assert len(complete(found, DETECTED)) == 20
    found.loc[(found["name"] == DETECTED) & (found["round"] > 2), "code"] = "def"
    with pytest.raises(ValueError, match="one state of the code in vhr10, got 16 of abc, 4 of def"):
        complete(found, DETECTED, name="vhr10")
    found.loc[found["name"] == RANDOM, "code"] = None
    with pytest.raises(ValueError, match="of unknown"):
        complete(found, DETECTED)


def test_all_of_it_is_printed_from_the_file(paced, tmp_path, monkeypatch, capsys):
    found = paced({RANDOM: [1.0] * 2, DETECTED: [2.0] * 2, "box-count": [2.5] * 2, "best": [4.0] * 2})
    found.to_parquet(tmp_path / "pool.parquet")
    found.to_parquet(tmp_path / "again.parquet")
    paced({RANDOM: [1.0], SHORT: [0.5]}).to_parquet(tmp_path / "pool-beside.parquet")
    monkeypatch.setattr(claims, "TABLES", tmp_path)
    monkeypatch.setattr(
        "sys.argv",
        ["claim", "pool", "again", "--candidate", "best", "--control", "box-count", "--beside", "pool-beside"],
    )
    claims.main()
    printed = capsys.readouterr().out
    assert printed.startswith("pool: starting from 4 photographs")
    assert "Against `box-count` its selection saves" in printed
    assert "pool and again together: against `box-count` selection saves +" in printed
    assert "known paid" in printed
    assert "| pool-beside | training: `random` | `random-short` | 1 |" in printed
    assert "Significantly below `random`: nothing" in printed
    assert "pool: training and lead at equal seconds" in printed


def test_areas_can_be_significantly_below_random(paced):
    good = paced({RANDOM: [1.0, 1.01, 0.99], DETECTED: [2.0, 2.01, 1.99]})
    text, below = areas({"pool": good})
    assert below == []
    assert cells_of(text)["less `random`"].startswith("+")
    assert cells_of(text)["less `random-detected`"] == ""
    worse = pd.concat([good, paced({"worse": [1.0, 1.01, 0.99]}, lift=-0.1)])
    text, below = areas({"pool": worse})
    assert below == ["worse on pool"]
    assert cells_of(text, 3)["less `random`"].startswith("-10.0 [-10.0, -10.0]")


def test_a_lead_in_training_is_seen(paced):
    found = paced({RANDOM: [1.0] * 2, "best": [2.0] * 2})
    longer = found["iterations"].where(found["name"] == RANDOM, found["iterations"] * 1.5)
    lead = training_lead(found.assign(iterations=longer))
    assert lead.loc[RANDOM].tolist() == pytest.approx([0, 0])
    assert lead.loc["best", "iterations"] > np.log(1.5)
    assert lead.loc["best", "ahead"] > 0.1
