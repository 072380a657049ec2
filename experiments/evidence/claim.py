"""The claim of comparisons on pools of tiles: what is saved, what saves it, and whether anything is worse than random.

    python -m experiments.evidence.claim vhr10 ssdd-large --candidate entropy --control random-detected

`--control` is the best control of the choices, see experiments/comparison/README.md. What is printed: a sentence for
each comparison; the table of :mod:`experiments.evidence.savings` at all prices; areas under the curves, less those of
``random`` and ``random-detected``, with intervals; and how long each arm was trained.

What training brings stands beside the savings, since it is no strategy's merit: the share of the seconds of the arm
``random-short``, where there is one, that ``random`` needs to the same targets, both drawn from nothing. So do
pseudo-labels that are no step: what they would bring after pre-annotation.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..paths import TABLES
from . import analysis
from .prices import costs_of, recounted, seconds_known
from .savings import (
    BY_PHOTOGRAPHS,
    BY_TILES,
    DETECTED,
    PRE_ANNOTATION,
    PSEUDO,
    RANDOM,
    Savings,
    Step,
    curves,
    from_nothing,
    steps_to,
)

SHORT = "random-short"
_TRAINING = [Step("short", SHORT, "tiles"), Step("training", RANDOM, "tiles")]
_PARTS = ("pre-annotation", "pseudo-labels", "detected", "control", "selection")
_POINTS = 401
_NOTES = (
    "Savings are shares of the quicker way from nothing, on the mean of the targets at 50 to 100 % of random's rise. "
    "`misses k of n`: targets that an arm does not reach, which count as no saving. `(k of n)`: seeds without which an "
    "arm misses one. Known paid: with the labels that are there at the start, drawn from nothing, on both sides."
)


def complete(table: pd.DataFrame, candidate: str, control: str = DETECTED, name: str = "the table") -> pd.DataFrame:
    """Keep the arms of the claim, and the seeds that all of them have finished.

    Raises:
        ValueError: if there is no such seed, or the cells are of more than one state of the code.
    """
    rows = table[table["name"].isin([RANDOM, SHORT, PSEUDO, DETECTED, control, candidate])]
    codes = rows.reindex(columns=["code"])["code"].fillna("unknown").value_counts()
    if len(codes) > 1:
        found = ", ".join(f"{n} of {code}" for code, n in codes.items())
        raise ValueError(
            f"expected cells of one state of the code in {name}, got {found} (column `code`): they cannot be compared. "
            "Delete the rows of the older state and their workspaces, and run the comparison again"
        )
    return analysis.complete(rows)


def read(name: str, candidate: str, control: str = DETECTED) -> pd.DataFrame:
    """Read the :func:`complete` cells of a comparison."""
    return complete(pd.read_parquet(TABLES / f"{name}.parquet"), candidate, control, name)


def claim(tables: Mapping[str, pd.DataFrame], candidate: str, control: str = DETECTED) -> str:
    """The table of the claim, in Markdown: a row for each comparison and each of the prices.

    Raises:
        ValueError: see :func:`experiments.evidence.savings.steps_to`.
    """
    head = ["pool", "drawing a box", BY_TILES.title, BY_PHOTOGRAPHS.title, "mAP", "saved in all"]
    head += ["in all, known paid", *_PARTS, f"`{candidate}` against `{control}`"]
    head += ["beside it: training", "beside it: pseudo-labels"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, table in tables.items():
        for about, cost in costs_of(table).items():
            first, ends = from_nothing(table, cost)
            steps = steps_to(table, candidate, control, first)
            saved = Savings(table, cost, steps)
            brought = {step.title: str(saved.brought_by(k)) for k, step in enumerate(steps) if k}
            hours = (f"{seconds / 3600:.1f} h" for seconds in ends.values())
            paid = seconds_known(table, cost, first.way)
            cells = [name, about, *hours, f"{100 * saved.target:.1f}", str(saved.in_all())]
            cells += [str(saved.in_all(paid=paid)), *(brought.get(part, "") for part in _PARTS)]
            cells.append(str(saved.in_all(-1, [step.arm for step in steps].index(control))))
            arms = {*table["name"]}
            cells.append(str(Savings(table, cost, _TRAINING).in_all()) if SHORT in arms else "")
            beside = [first, PRE_ANNOTATION, Step("pseudo-labels", PSEUDO)]
            is_beside = PSEUDO in arms - {step.arm for step in steps}
            cells.append(str(Savings(table, cost, beside).brought_by(2)) if is_beside else "")
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sentence(name: str, table: pd.DataFrame, candidate: str, control: str = DETECTED) -> str:
    """The claim of one comparison in words, at 12 s a box: what it starts from, what by, and how much."""
    cost = costs_of(table)["12 s"]
    first, ends = from_nothing(table, cost)
    steps = steps_to(table, candidate, control, first)
    saved, paid = Savings(table, cost, steps), seconds_known(table, cost, first.way)
    known = table.drop_duplicates("seed")["known_photographs"].mean()
    return (
        f"{name}: starting from {known:.0f} photographs with labels, which take {paid / 60:.0f} minutes from nothing, "
        f"a person without the library needs another {ends[first.title] / 3600:.1f} h to mAP {100 * saved.target:.1f} "
        f"({first.title}, the quicker way). `{candidate}` saves {saved.in_all()} of the time to 50 to 100 % of that "
        f"rise, {saved.in_all(paid=paid)} with the start paid on both sides. Against `{control}` its selection saves "
        f"{saved.in_all(-1, [step.arm for step in steps].index(control))}."
    )


def areas(tables: Mapping[str, pd.DataFrame]) -> tuple[str, list[str]]:
    """Mean mAP over the seconds (AULC, normalised) less that of two references, in points, at 12 s a box.

    Returns:
        A table in Markdown with intervals (95 %), and what is significantly below random, as ``ARM on POOL``.
    """
    head = ["pool", "arm", f"less `{RANDOM}`", f"less `{DETECTED}`"]
    lines, below = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], []
    for name, table in tables.items():
        priced = table.assign(seconds=recounted(table, costs_of(table)["12 s"]))
        of = {other: analysis.areas(priced, "seconds", other) for other in (RANDOM, DETECTED)}
        for arm in dict.fromkeys(table["name"]):
            if arm == RANDOM:
                continue
            cells = ["" if arm == other else _interval(rows.loc[arm]) for other, rows in of.items()]
            lines.append(f"| {name} | `{arm}` | {' | '.join(cells)} |")
            if of[RANDOM].loc[arm, "high"] < 0:
                below.append(f"{arm} on {name}")
    return "\n".join(lines), below


def training_lead(table: pd.DataFrame) -> pd.DataFrame:
    """How much longer each arm was trained than random at equal seconds, and how far it is ahead.

    Returns:
        By arm: iterations, the mean over the seeds' common range of the logarithm of iterations over random's (0: as
        long, 0.1: 10 % longer); ahead, the same of mAP less random's. If the two go together over the arms, a lead may
        be one in training.
    """
    cost = costs_of(table)["12 s"]
    rows = {}
    for arm in dict.fromkeys(table["name"]):
        leads = []
        pairs = [
            (curves(table, Step("", name), cost, column)) for name in (arm, RANDOM) for column in ("iterations", "mAP")
        ]
        for (x, n), (_, y), (base, base_n), (_, base_y) in zip(*pairs, strict=True):
            at = np.linspace(max(x[1], base[1]), min(x[-1], base[-1]), _POINTS)
            longer = np.log(np.interp(at, x, n) / np.interp(at, base, base_n)).mean()
            leads.append((longer, (np.interp(at, x, y) - np.interp(at, base, base_y)).mean()))
        rows[arm] = np.mean(leads, axis=0)
    return pd.DataFrame.from_dict(rows, "index", columns=["iterations", "ahead"])


def _interval(row: pd.Series) -> str:
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--candidate", required=True, help="the arm whose savings are claimed")
    parser.add_argument("--control", default=DETECTED, help="the best control of the choices (default: %(default)s)")
    args = parser.parse_args()
    tables = {name: read(name, args.candidate, args.control) for name in args.tables}
    for name, table in tables.items():
        print(sentence(name, table, args.candidate, args.control))
    print(f"\n{claim(tables, args.candidate, args.control)}\n\n{_NOTES}\n")
    of_areas, below = areas(tables)
    print(f"{of_areas}\n\nSignificantly below `{RANDOM}`: {', '.join(below) or 'nothing'}")
    for name, table in tables.items():
        print(f"\n{name}: training and lead at equal seconds")
        print(training_lead(table).to_string(float_format="{:+.3f}".format))


if __name__ == "__main__":
    main()
