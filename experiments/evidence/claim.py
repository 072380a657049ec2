"""The claim of comparisons on pools of tiles: what is saved, what saves it, and whether anything is worse than random.

    python -m experiments.evidence.claim vhr10 ssdd-large --candidate entropy --control random-detected

`--control` is the best control of the choices, see experiments/comparison/README.md. What is printed:

- a sentence for each comparison, and one for all of them together: the test of selection;
- the tables of :mod:`experiments.evidence.savings` at all prices, with what selection saves by
  :func:`experiments.evidence.analysis.shift`;
- what training and pseudo-labels bring, which is no strategy's merit, where the tables, or those named by `--beside`,
  have the arms ``random-short`` and ``random-pseudo``, on the seeds that these have finished;
- areas under the curves, less those of ``random`` and ``random-detected``, with intervals;
- how long each arm was trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from textwrap import indent

import numpy as np
import pandas as pd

from al_rotate import CostModel

from ..paths import TABLES
from . import analysis
from .prices import Way, costs_of, seconds_known
from .savings import (
    BALANCED,
    DETECTED,
    PRE_ANNOTATION,
    PSEUDO,
    RANDOM,
    Savings,
    Share,
    Step,
    after_the_shared_query,
    curves,
    from_nothing,
    steps_to,
)

SHORT = "random-short"
_BESIDE = {  # what is compared with what; seconds of training are those of drawing from nothing
    "training": (Step("", RANDOM, "tiles"), Step("", SHORT, "tiles")),
    "pseudo-labels": (Step("", PSEUDO), PRE_ANNOTATION),
}
_POINTS = 401
_NOTES = (
    "By shift: 1 - exp(-D / R), D the difference of mean mAP over the logarithm of the seconds, R the rise of what is "
    "compared with per unit of it. All other savings are on the mean of the targets at 50 to 100 % of random's rise "
    "after the first query: by targets against the control, the rest as shares of the quicker way from nothing. "
    "`misses k of n`: targets that an arm does not reach; they count as no saving. `(k of n)`: seeds without which an "
    "arm misses one. Known paid: with the labels that are there at the start, drawn from nothing, on both sides. Where "
    f"there is one class, `{DETECTED}` stands in for `{BALANCED}`."
)


def complete(table: pd.DataFrame, candidate: str, control: str = DETECTED, name: str = "the table") -> pd.DataFrame:
    """Keep the arms of the claim's steps, and the seeds that all of them have finished.

    Raises:
        ValueError: if there is no such seed, the cells are of more than one state of the code, or
            :func:`experiments.evidence.savings.steps_to` raises it.
    """
    return analysis.complete(_of_one_state(table, {step.arm for step in steps_to(table, candidate, control)}, name))


def _of_one_state(table: pd.DataFrame, arms: Collection[str], name: str) -> pd.DataFrame:
    rows = table[table["name"].isin(arms)]
    codes = rows.reindex(columns=["code"])["code"].fillna("unknown").value_counts()
    if len(codes) > 1:
        found = ", ".join(f"{n} of {code}" for code, n in codes.items())
        raise ValueError(
            f"expected cells of one state of the code in {name}, got {found} (column `code`): they cannot be compared. "
            "Delete the rows of the older state and their workspaces, and run the comparison again"
        )
    return rows


def read(name: str, candidate: str, control: str = DETECTED) -> pd.DataFrame:
    """Read the :func:`complete` cells of a comparison."""
    return complete(pd.read_parquet(TABLES / f"{name}.parquet"), candidate, control, name)


def claim(tables: Mapping[str, pd.DataFrame], candidate: str, control: str = DETECTED, price: str = "12 s") -> str:
    """The table of the claim at one of the prices, in Markdown: a column for each comparison, and one for all together.

    Raises:
        ValueError: see :func:`experiments.evidence.savings.steps_to`.
    """
    columns = {name: _column(table, costs_of(table)[price], candidate, control) for name, table in tables.items()}
    if len(tables) > 1:
        columns[" + ".join(tables)] = {
            _by_shift(other): _saved(together(tables, candidate, other, price)) for other in (control, DETECTED, RANDOM)
        }
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    ordered = [*[key for key in keys if not key.startswith("by ")], *[key for key in keys if key.startswith("by ")]]
    drawing, *rest = price.split(", ")
    lines = [
        f"| {', '.join([f'{drawing} a drawn box', *rest])} | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    lines += [f"| {key} | {' | '.join(column.get(key, '') for column in columns.values())} |" for key in ordered]
    return "\n".join(lines)


def _column(table: pd.DataFrame, cost: CostModel, candidate: str, control: str) -> dict[str, str]:
    """What the claim says of one comparison, by what it says."""
    first, ends = from_nothing(table, cost)
    steps = steps_to(table, candidate, control, first)
    saved, paid = Savings(table, cost, steps), seconds_known(table, cost, first.way)
    best = steps[-2].arm  # the control, or what stands in for it
    shifts = {other: _saved(_shift(table, cost, candidate, other)) for other in {best, DETECTED, RANDOM}}
    return {
        "seeds": str(table["seed"].nunique()),
        **{title: f"{seconds / 3600:.1f} h" for title, seconds in ends.items()},
        f"mAP of `{RANDOM}` then": f"{100 * saved.target:.1f}",
        **{f"saved by `{step.arm}`": str(saved.in_all(k)) for k, step in enumerate(steps) if k},
        f"saved by `{candidate}`, known paid": str(saved.in_all(paid=paid)),
        **{f"{step.title} alone": str(saved.brought_by(k)) for k, step in enumerate(steps) if k},
        f"points ahead of `{control}` at the end": _points(
            analysis.lead_at_end(after_the_shared_query(table, cost), "log_spent", candidate, best)
        ),
        _by_shift(control): shifts[best],
        f"by targets, against `{control}`": str(saved.in_all(-1, -2)),
        **{_by_shift(other): shifts[other] for other in (DETECTED, RANDOM)},
    }


def _by_shift(other: str) -> str:
    return f"by shift, against `{other}`"


def together(tables: Mapping[str, pd.DataFrame], candidate: str, other: str, about: str = "12 s") -> analysis.Shift:
    """The mean shift of all comparisons: of a candidate's selection against another arm's, at one of the prices."""
    shifts = []
    for table in tables.values():
        arm = other if other == RANDOM else steps_to(table, candidate, other)[-2].arm
        shifts.append(_shift(table, costs_of(table)[about], candidate, arm))
    return analysis.pooled(shifts)


def read_whole(names: Collection[str]) -> dict[str, pd.DataFrame]:
    """Read comparisons with all their rows, of unfinished seeds, too."""
    return {name: pd.read_parquet(TABLES / f"{name}.parquet") for name in names}


def beside(tables: Mapping[str, pd.DataFrame]) -> str:
    """What training and pseudo-labels bring to labelling at random, at 12 s a box, in Markdown.

    Args:
        tables: need not be complete: each row is of the seeds that its two arms have finished.
    """
    lines = ["| pool | what | against | seeds | by shift | by targets |", "|---" * 6 + "|"]
    for name, table in tables.items():
        cost = costs_of(table)["12 s"]
        for what, (step, other) in _BESIDE.items():
            if not {step.arm, other.arm} <= {*table["name"]}:
                continue
            head = f"| {name} | {what}: `{step.arm}` | `{other.arm}` |"
            rows = _of_one_state(table, (step.arm, other.arm), name)
            try:
                rows = analysis.complete(rows)
            except ValueError:
                lines.append(f"{head} none finished | | |")
                continue
            by_shift = _saved(_shift(rows, cost, step.arm, other.arm, step.way))
            by_targets = Savings(rows, cost, [other, step]).in_all()
            lines.append(f"{head} {rows['seed'].nunique()} | {by_shift} | {by_targets} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _shift(table: pd.DataFrame, cost: CostModel, arm: str, other: str, way: Way = "corrected") -> analysis.Shift:
    return analysis.shift(after_the_shared_query(table, cost, way), "log_spent", arm, other)


def _saved(shift: analysis.Shift) -> str:
    return str(Share(*shift.saving))


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
        f"rise, {saved.in_all(paid=paid)} with the start paid on both sides. Against `{steps[-2].arm}` its selection "
        f"saves {_saved(_shift(table, cost, candidate, steps[-2].arm))} (seeds: {table['seed'].nunique()})."
    )


def areas(tables: Mapping[str, pd.DataFrame]) -> tuple[str, list[str]]:
    """Mean mAP over the logarithm of the seconds after the first query, less that of two references, at 12 s a box.

    Returns:
        A table in Markdown, in points, with intervals (95 %); what is significantly below random: ``ARM on POOL``.
    """
    head = ["pool", "arm", f"less `{RANDOM}`", f"less `{DETECTED}`"]
    lines, below = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"], []
    for name, table in tables.items():
        priced = after_the_shared_query(table, costs_of(table)["12 s"])
        of = {other: analysis.areas(priced, "log_spent", other) for other in (RANDOM, DETECTED)}
        for arm in dict.fromkeys(table["name"]):
            if arm == RANDOM:
                continue
            cells = [
                "" if arm == other else _points(rows.loc[arm, ["difference", "low", "high"]])
                for other, rows in of.items()
            ]
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
            at = np.linspace(max(x[0], base[0]), min(x[-1], base[-1]), _POINTS)
            longer = np.log(np.interp(at, x, n) / np.interp(at, base, base_n)).mean()
            leads.append((longer, (np.interp(at, x, y) - np.interp(at, base, base_y)).mean()))
        rows[arm] = np.mean(leads, axis=0)
    return pd.DataFrame.from_dict(rows, "index", columns=["iterations", "ahead"])


def _points(interval: Sequence[float]) -> str:
    value, low, high = (100 * share for share in interval)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def everything(names: list[str], candidate: str, control: str = DETECTED, beside_names: Collection[str] = ()) -> str:
    """All that is said of these comparisons, in Markdown: see the top of this module."""
    whole = read_whole((*names, *beside_names))
    tables = {name: complete(whole[name], candidate, control, name) for name in names}
    said = [sentence(name, table, candidate, control) for name, table in tables.items()]
    if len(tables) > 1:
        test = together(tables, candidate, control)
        saved = f"against `{control}` selection saves {_saved(test)}, p = {test.p:.2g}"
        said.append(f"{' and '.join(tables)} together: {saved}.")
    of_areas, below = areas(tables)
    leads = {name: training_lead(table).to_string(float_format="{:+.3f}".format) for name, table in tables.items()}
    parts = [
        *said,
        *(claim(tables, candidate, control, price) for price in costs_of(pd.DataFrame())),
        _NOTES,
        beside(whole),
        of_areas,
        f"Significantly below `{RANDOM}`: {', '.join(below) or 'nothing'}",
        *(f"{name}: training and lead at equal seconds\n\n{indent(lead, '    ')}" for name, lead in leads.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", help="names of comparisons")
    parser.add_argument("--candidate", required=True, help="the arm whose savings are claimed")
    parser.add_argument("--control", default=DETECTED, help="the best control of the choices (default: %(default)s)")
    parser.add_argument("--beside", nargs="*", default=[], help="names of comparisons with random-short, random-pseudo")
    args = parser.parse_args()
    print(everything(args.tables, args.candidate, args.control, args.beside))


if __name__ == "__main__":
    main()
