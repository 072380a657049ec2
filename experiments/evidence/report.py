"""Figures and a page from tables of cells.

    python experiments/report_comparison.py experiments/results/comparisons/*.parquet
    python experiments/report_comparison.py experiments/results/comparisons/s*.parquet --work work_dirs/comparisons

Everything is drawn from the tables alone, but for the pictures of what was picked, which need the data that
compare_strategies left in --work. Figures go to a folder beside each table, the page to index.html beside the tables.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import comparison_tables as tables
import jinja2
import matplotlib
import numpy as np
import pandas as pd
from comparison_cells import RECIPE
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import al_rotate as al
from al_rotate.data import images
from al_rotate.report import plots

matplotlib.use("Agg")
HERE = Path(__file__).resolve().parent
PICKED = 8  # pictures a strategy
_SHORT = {"images": "images", "boxes": "boxes", "seconds": "minutes of labelling (estimated)"}


def write(paths: list[Path], work: Path | None) -> Path:
    """The figures of each table, and the page of all."""
    sections = []
    for path in paths:
        table = tables.complete(pd.read_parquet(path))
        folder = path.with_suffix("")
        folder.mkdir(exist_ok=True)
        found = summary(table)
        made = {"curves": curves(table), "seeds": seeds(table), "differences": differences(found)}
        if table["seed"].nunique() > 1:
            made["penalties"] = heat(
                tables.penalties(table, axis(table)), "share of the way on which the row beats the column", "Greens", 1
            )
        made["classes"] = heat(tables.class_gains(table), "AP at the end less random's", "RdBu", None)
        made["costs"] = heat(tables.by_cost(table), "AULC over time less random's, by what answers cost", "RdBu", None)
        made["likeness"] = heat(tables.likeness(table), "Jaccard index of the images asked for", "Blues", 1)
        if work and (picked := montage(table, work)):
            made["picked"] = picked
        for name, figure in made.items():
            figure.savefig(folder / f"{name}.jpg", dpi=110, bbox_inches="tight", pil_kwargs={"quality": 88})
            plt.close(figure)
        found.to_csv(folder / "summary.csv", float_format="%.4f")
        seeds_run = table["seed"].nunique()
        (folder / "summary.md").write_text(markdown(found, axis(table), seeds_run), encoding="utf-8")
        shown = [name for name in (*made, "picked") if (folder / f"{name}.jpg").exists()]
        sections.append(section(path.stem, table, found, list(dict.fromkeys(shown))))
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (HERE / "comparison.html.j2").read_text(encoding="utf-8")
    )
    out = paths[0].parent / "index.html"
    out.write_text(page.render(sections=sections), encoding="utf-8")
    return out


def axis(table: pd.DataFrame) -> str:
    """What the budget counted."""
    return next(iter(json.loads(table["budget"].iloc[0])))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a strategy, best first by AULC on the budget's own axis."""
    own = axis(table)
    parts = {}
    for name in (own, *(n for n in tables.AXES if n != own)):
        found = tables.areas(table, name)
        found = found.join(tables.savings(table, name))
        parts |= {f"{name}: {column}": found[column] for column in found}
    whole = pd.concat([pd.DataFrame(parts), tables.asked(table)], axis=1).rename_axis("strategy")
    return whole.sort_values(f"{own}: difference", ascending=False, kind="stable")


def markdown(found: pd.DataFrame, own: str, seeds: int) -> str:
    """The table of docs/evidence.md: AULC on the budget's axis, and its difference from random's on each, in points."""
    lines = [f"| strategy | AULC, {own} | " + " | ".join(f"less random's, {one}" for one in tables.AXES)]
    lines = [f"{lines[0]} | saving, {own} | end |", "|---" * 7 + "|"]
    for name, row in found.iterrows():
        cells = [f"{100 * row[f'{own}: aulc']:.1f}", *(difference(row, f"{one}: ", "**") for one in tables.AXES)]
        cells += [_saving(row, own, seeds), f"{100 * row['mAP_end']:.1f}"]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def difference(row: pd.Series, of: str = "", bold: str = "") -> str:
    """A difference with its interval, and how much of random's way it is over where that is not all of it."""
    if row.name == tables.REFERENCE and row[f"{of}difference"] == 0:
        return ""
    low, high = (100 * row[f"{of}{part}"] for part in ("low", "high"))
    covered = f" ({100 * row[f'{of}covered']:.0f} %)" if row[f"{of}covered"] < 0.795 else ""
    return f"{marked(row, of, bold)} [{low:+.1f}, {high:+.1f}]{covered}"


def marked(row: pd.Series, of: str = "", bold: str = "") -> str:
    """A difference, with a dagger if it is left at a false discovery rate of 5 % over the strategies of a column."""
    mark = bold if verdict(row, of) else ""
    return f"{mark}{100 * row[f'{of}difference']:+.1f}{mark}{'†' if row[f'{of}q'] < 0.05 else ''}"


def verdict(row: pd.Series, of: str = "") -> str:
    """What the interval says, if anything."""
    return "better" if row[f"{of}low"] > 0 else "worse" if row[f"{of}high"] < 0 else ""


def _saving(row: pd.Series, one: str, seeds: int) -> str:
    if row.name == tables.REFERENCE:
        return ""
    saved = row[f"{one}: saving"]
    return f"{'not reached' if np.isnan(saved) else f'{100 * saved:+.0f} %'} ({row[f'{one}: reached']:.0f}/{seeds})"


def section(name: str, table: pd.DataFrame, found: pd.DataFrame, shown: list[str]) -> dict[str, Any]:
    """What the page says of one table."""
    about, seeds = table.iloc[0], table["seed"].nunique()
    rows = []
    for strategy, row in found.iterrows():
        cells: dict[str, Any] = {"strategy": strategy}
        for one in tables.AXES:
            cells[one] = {
                "aulc": f"{100 * row[f'{one}: aulc']:.1f}",
                "difference": difference(row, f"{one}: "),
                "sure": verdict(row, f"{one}: "),
                "better": f"{row[f'{one}: seeds_better']:.0f}/{seeds}",
                "saving": _saving(row, one, seeds),
            }
        asked = ("images", "boxes", "empty", "added", "moved", "relabelled", "deleted", "minutes", "query_s")
        cells["asked"] = [f"{row[column]:.0f}" for column in asked]
        cells["end"] = f"{100 * row['mAP_end']:.1f}"
        rows.append(cells)
    said = (*RECIPE, "budget")
    return {
        "name": name,
        "about": {key: about[key] for key in said},
        "versions": about["versions"],
        "seeds": sorted(table["seed"].unique().tolist()),
        "rounds": int(table["round"].max()) + 1,
        "rows": rows,
        "figures": shown,
    }


def colours(table: pd.DataFrame) -> dict[str, Any]:
    palette = plt.get_cmap("tab20")
    others = [name for name in tables.names(table) if name != tables.REFERENCE]
    return {tables.REFERENCE: "black", **{name: palette(k % 20) for k, name in enumerate(others)}}


def curves(table: pd.DataFrame) -> Figure:
    """Means of the seeds against images, boxes and time, each seed a thin line."""
    figure, axes = plt.subplots(1, 3, figsize=(16, 5.4), sharey=True, layout="constrained")
    found = colours(table)
    for ax, name in zip(axes, tables.AXES, strict=True):
        scale = 60 if name == "seconds" else 1
        for strategy, of_seeds in tables.by_seed(table, name).items():
            for x, y in of_seeds:
                ax.plot(x / scale, 100 * y, color=found[strategy], lw=0.5, alpha=0.35)
            x, y = tables.mean_curve(of_seeds)
            wide = 2.6 if strategy == tables.REFERENCE else 1.5
            ax.plot(x / scale, 100 * y, color=found[strategy], lw=wide, label=strategy)
        ax.set(xlabel=_SHORT[name])
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("mAP (rotated, IoU 0.5), %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def seeds(table: pd.DataFrame) -> Figure:
    """A panel a strategy: its seeds over random's, on the budget's axis."""
    own, found = axis(table), tables.by_seed(table, axis(table))
    others = [name for name in found if name != tables.REFERENCE]
    columns = min(5, len(others))
    lines = -(-len(others) // columns)
    size = (3.1 * columns, 2.4 * lines)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(others) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, others, strict=False):
        for x, y in found[tables.REFERENCE]:
            ax.plot(x, 100 * y, color="0.55", lw=1)
        for k, (x, y) in enumerate(found[name]):
            ax.plot(x, 100 * y, color=plt.get_cmap("Dark2")(k % 8), lw=1.4)
        ax.set_title(name, fontsize=9)
        ax.grid(alpha=0.3)
    figure.supxlabel(f"{_SHORT[own]}; random in grey, a line a seed", fontsize=9)
    figure.supylabel("mAP, %", fontsize=9)
    return figure


def differences(summed: pd.DataFrame) -> Figure:
    """AULC less random's with 95 % intervals, on each axis, of a :func:`summary`."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 0.32 * len(summed) + 1.2), sharey=True, layout="constrained")
    order = list(summed.index.drop(tables.REFERENCE))[::-1]
    for ax, name in zip(axes, tables.AXES, strict=True):
        found = 100 * summed.loc[order, [f"{name}: {part}" for part in ("difference", "low", "high")]]
        found.columns = ["difference", "low", "high"]
        sure = np.select([found["low"] > 0, found["high"] < 0], ["#1a7f37", "#b42318"], "0.45")
        at = np.arange(len(order))
        ax.hlines(at, found["low"], found["high"], color=sure, lw=2)
        ax.scatter(found["difference"], at, color=sure, zorder=3, s=22)
        ax.axvline(0, color="black", lw=0.8)
        ax.set(yticks=at, yticklabels=order, xlabel="points of mAP", title=f"AULC over {_SHORT[name]}, less random's")
        ax.title.set_size(9)
        ax.grid(axis="x", alpha=0.3)
    return figure


def heat(found: pd.DataFrame, what: str, palette: str, top: float | None) -> Figure:
    """A matrix with its numbers."""
    rows, columns = found.shape
    figure, ax = plt.subplots(figsize=(1.9 + 0.62 * columns, 1.2 + 0.34 * rows), layout="constrained")
    limit = top or max(float(np.nanmax(np.abs(found.to_numpy()))), 1e-9)
    ax.imshow(found, cmap=palette, vmin=0 if top else -limit, vmax=limit, aspect="auto")
    for (i, j), value in np.ndenumerate(found.to_numpy()):
        dark = abs(value) > 0.6 * limit
        ax.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color="white" if dark else "black")
    ax.set_xticks(range(columns), found.columns, rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(rows), found.index, fontsize=8)
    ax.set_title(f"{what}, in %", fontsize=9, loc="left")
    return figure


def montage(table: pd.DataFrame, work: Path) -> Figure | None:
    """What each strategy asked for in its second query, one seed, with the labels that came; None without the data."""
    data = work / f"{table['dataset'].iloc[0]}-{table['size'].iloc[0]}"
    if not (data / "pool.parquet").exists():
        return None
    labels, files = al.RotatedInstances.load(data / "pool.parquet"), al.images.find(data / "images")
    order = tables.names(table)
    figure, axes = plt.subplots(len(order), PICKED, figsize=(1.6 * PICKED, 1.72 * len(order)), layout="constrained")
    later = table[(table["seed"] == table["seed"].min()) & (table["round"] == 2)].set_index("name")
    for line, name in zip(axes, order, strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, image_id in zip(line, later.loc[name, "asked"], strict=False):
            plots.show_boxes(images.read(files[image_id]), truth=labels[image_id], ax=ax)
        line[0].set_title(name, fontsize=9, loc="left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="Parquet files of compare_strategies")
    parser.add_argument("--work", type=Path, help="where compare_strategies keeps its data, for pictures")
    args = parser.parse_args()
    print(f"page: {write(args.tables, args.work)}")


if __name__ == "__main__":
    main()
