"""Figures, tables and a page from the tidy tables of comparisons.

    python -m experiments.evidence.report experiments/results/comparisons/*.parquet
    python -m experiments.evidence.report experiments/results/comparisons/s*.parquet --work work_dirs/comparisons

Everything follows from the tables, except the pictures of what was selected: these need the data that
experiments.comparison.run left in --work. Figures go to a folder next to each table, the page to index.html next to the
tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib import pyplot as plt

from ..comparison.config import OPTIONAL, RECIPE
from .analysis import AXES, budget_axis, complete
from .figures import draw_all
from .markdown import difference, markdown, saving, summary, verdict

_OF_BEFORE = ("dataset", "size", "detector", "iterations", "warm_start", "initial")  # columns of recorded tables
_TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(paths: list[Path], work: Path | None) -> Path:
    """Write the figures and the summary of each table, and the page of all.

    Args:
        paths: of the tables.
        work: where the comparisons keep their data, for pictures of what was selected.

    Returns:
        The page.
    """
    sections = []
    for path in paths:
        table = complete(pd.read_parquet(path))
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        rows = summary(table)
        figures = []
        for name, figure in draw_all(table, rows, work):
            figure.savefig(folder / f"{name}.jpg", dpi=110, bbox_inches="tight", pil_kwargs={"quality": 88})
            plt.close(figure)
            figures.append(name)
        if "picked" not in figures and (folder / "picked.jpg").exists():  # drawn earlier, when the data were there
            figures.append("picked")
        rows.to_csv(folder / "summary.csv", float_format="%.4f")
        text = markdown(rows, budget_axis(table), table["seed"].nunique())
        (folder / "summary.md").write_text(text, encoding="utf-8")
        sections.append(_section(path.stem, table, rows, figures))
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    out = paths[0].parent / "index.html"
    out.write_text(page.render(sections=sections), encoding="utf-8")
    return out


def _section(name: str, table: pd.DataFrame, rows: pd.DataFrame, figures: list[str]) -> dict[str, Any]:
    """What the page says of one table."""
    about = table.iloc[0]
    return {
        "name": name,
        "about": {key: about[key] for key in (*RECIPE, *OPTIONAL, "training", "budget", *_OF_BEFORE) if key in about},
        "versions": about["versions"],
        "seeds": sorted(table["seed"].unique().tolist()),
        "rounds": int(table["round"].max()) + 1,
        "rows": [_cells(str(strategy), row, table["seed"].nunique()) for strategy, row in rows.iterrows()],
        "figures": figures,
    }


def _cells(strategy: str, row: pd.Series, n_seeds: int) -> dict[str, Any]:
    """A strategy's cells in the two tables of a section."""
    cells: dict[str, Any] = {"strategy": strategy, "end": f"{100 * row['mAP_end']:.1f}"}
    for axis in AXES:
        cells[axis] = {
            "aulc": f"{100 * row[f'{axis}: aulc']:.1f}",
            "difference": difference(row, f"{axis}: "),
            "verdict": verdict(row, f"{axis}: "),
            "better": f"{row[f'{axis}: seeds_better']:.0f}/{n_seeds}",
            "saving": saving(row, axis, n_seeds),
        }
    queried = ("images", "boxes", "empty", "added", "moved", "relabelled", "deleted", "minutes", "query_s")
    cells["queried"] = [f"{row[column]:.0f}" for column in queried]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="Parquet files of experiments.comparison.run")
    parser.add_argument("--work", type=Path, help="where that run keeps its data, for pictures")
    args = parser.parse_args()
    print(f"page: {write_report(args.tables, args.work)}")


if __name__ == "__main__":
    main()
