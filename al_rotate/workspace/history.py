"""What happened in a workspace, as tables."""

from __future__ import annotations

import json
import sqlite3

import pandas as pd

from .answers import COST_COLUMNS

COLUMNS = (
    *("round", "stage", "strategy"),
    *("n_queried", "n_labelled", "n_skipped", "n_boxes", "cost"),
    *("started", "finished"),
)
_LEDGER = ("image_id", "round", "status", "reason", "n_boxes", *COST_COLUMNS)


def history(db: sqlite3.Connection) -> pd.DataFrame:
    """See :meth:`al_rotate.Workspace.history`."""
    rounds = "SELECT round, stage, strategy, started, finished, metrics AS more FROM rounds ORDER BY round"
    frame = pd.read_sql_query(rounds, db)
    answers = pd.read_sql_query("SELECT * FROM answers ORDER BY answer", db)
    queried = dict(
        db.execute(
            "SELECT round, count(*) FROM queries JOIN rounds USING (round) WHERE stage != 'undone' GROUP BY round"
        )
    )
    totals = []
    for number in frame["round"]:
        latest = answers[answers["round"] <= number].drop_duplicates("image_id", keep="last")
        statuses = latest["status"].value_counts()
        totals.append(
            {
                "n_queried": sum(count for past, count in queried.items() if past <= number),
                "n_labelled": int(statuses.get("labelled", 0)),
                "n_skipped": int(statuses.get("skipped", 0)),
                "n_boxes": int(latest["n_boxes"].sum()),
                "cost": float(latest["seconds"].astype(float).sum()),
            }
        )
    counts = frame["stage"] != "undone"  # weights that were given up are on no learning curve
    more = [json.loads(text) if kept else {} for text, kept in zip(frame.pop("more"), counts, strict=True)]
    metrics = pd.DataFrame(more, index=frame.index)
    frame = pd.concat([frame, pd.DataFrame(totals, index=frame.index), metrics], axis=1)
    return frame.reindex(columns=[*COLUMNS[:-2], *metrics.columns, *COLUMNS[-2:]])


def ledger(db: sqlite3.Connection) -> pd.DataFrame:
    """See :meth:`al_rotate.Workspace.ledger`."""
    columns = ", ".join(f"answers.{column}" for column in _LEDGER)
    frame = pd.read_sql_query(
        f"SELECT {columns} FROM images JOIN answers USING (answer, image_id) "
        "WHERE answers.status IN ('labelled', 'skipped') ORDER BY image_id",
        db,
    )
    kinds = {column: "Int64" for column in _LEDGER if column.startswith("n_")} | {"seconds": "float64"}
    words = frame.columns.difference([*kinds, "round"])
    texts = frame[words].astype(object)
    frame[words] = texts.mask(texts.isna(), None)  # pandas 3 reads NULL as NaN
    return frame.astype(kinds)
