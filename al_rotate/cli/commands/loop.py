"""The commands of the loop: query, review, collect, train, status and report."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from ...loop import ActiveLoop
from ...sampling import Budget
from ...storage.user_warnings import warn_user
from ...workspace import Workspace
from ...workspace.artefacts import read_explanations
from ...workspace.progress import advise_on
from ..arguments import (
    AddCommand,
    add_budget,
    add_cfg_options,
    add_strategy_arguments,
    add_workspace,
    as_options,
    number,
    whole_number,
)
from ..wording import STAGES, answered_by, history_table, in_words, list_classes, many, metrics_text, next_step
from . import cfg_options

LAST_CHANGES = 10  # that status prints


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    query = add_command(
        "query",
        _query,
        "Predict, rank, and ask for labels of the most useful images.",
        "al-rotate query work --budget 100 --strategy pal",
    )
    add_workspace(query)
    add_budget(query, "the most images to ask for; by default the workspace's budget, at first 50")
    boxes = "the most boxes to ask for, counted as predicted"
    query.add_argument("--boxes", type=whole_number(1), metavar="N", help=boxes)
    minutes = "the most minutes of labelling to ask for, as expected"
    query.add_argument("--minutes", type=number(0, above=True), metavar="N", help=minutes)
    add_strategy_arguments(query, default=None)

    review = add_command(
        "review",
        _review,
        "Have doubtful labels looked at again, instead of a query.",
        "al-rotate review work --budget 30",
    )
    add_workspace(review)
    add_budget(review, "the most images to ask for; by default the workspace's budget")

    collect = add_command("collect", _collect, "Collect the answers so far.", "al-rotate collect work")
    add_workspace(collect)

    train = add_command(
        "train",
        _train,
        "Fine-tune on all labels and evaluate.",
        "al-rotate train work --cfg-options train_cfg.max_epochs=12",
    )
    add_workspace(train)
    add_cfg_options(train)

    status = add_command("status", _status, "Show where a workspace stands.", "al-rotate status work")
    add_workspace(status)

    report = add_command("report", _report, "Write the HTML report.", "al-rotate report work --out report.html")
    add_workspace(report)
    report.add_argument("--out", type=Path, help="by default report.html in the workspace")


def open_loop(folder: Path, **options: Any) -> ActiveLoop:
    """Open the loop of an existing workspace; FileNotFoundError names the command that makes one."""
    Workspace.open(folder, read_only=True).close()
    return ActiveLoop(folder, **options)


def _query(args: argparse.Namespace) -> None:
    seconds = None if args.minutes is None else max(1, round(60 * args.minutes))
    limited = (args.budget, args.boxes, seconds) != (None, None, None)
    budget = Budget(images=args.budget, boxes=args.boxes, seconds=seconds) if limited else None
    options = as_options(args.options) or None
    with open_loop(args.workspace, strategy=args.strategy, budget=budget, strategy_options=options) as loop:
        _print_query(loop, loop.query(), args.workspace)


def _review(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        _print_query(loop, loop.review(args.budget), args.workspace)


def _print_query(loop: ActiveLoop, selection: pd.DataFrame, typed: Path) -> None:
    current = loop.workspace.rounds()[-1]
    explanations = read_explanations(current.folder)
    print(f"round {current.number}: {many(len(selection), 'image')} queried, the most useful first:")
    print("\n".join(f"  {image_id}: {explanations.get(image_id, '')}" for image_id in selection["image_id"].head(10)))
    print(f"all of them: {current.folder / 'selection.csv'}")
    print(f"next: {next_step(loop.workspace, typed)}")


def _collect(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        rounds = loop.workspace.rounds()
        stage = rounds[-1].stage if rounds else "new"
        if stage not in ("queried", "collected"):
            raise ValueError(f"nothing has been asked for yet; next: {next_step(loop.workspace, args.workspace)}")
        if stage == "queried" and loop.annotator is None:
            raise ValueError(f"nobody answers this workspace yet; next: {next_step(loop.workspace, args.workspace)}")
        counts = Counter(loop.collect()["status"])
        print(f"round {rounds[-1].number}: {in_words(counts)}")
        print(f"next: {next_step(loop.workspace, args.workspace)}")


def _train(args: argparse.Namespace) -> None:
    with open_loop(args.workspace, train_options=args.cfg_options) as loop:
        config = loop.workspace.folder / loop.settings.config
        if config.is_file():
            cfg_options.check(config, args.cfg_options)
        workspace, before = loop.workspace, loop.workspace.rounds()
        is_open = bool(before) and before[-1].stage == "queried"
        statuses = workspace.query(before[-1].number)["status"].tolist() if is_open else []
        if not workspace.ids("labelled") or (is_open and "labelled" not in statuses):
            raise ValueError(f"nothing is labelled yet; next: {next_step(workspace, args.workspace)}")
        unanswered = workspace.ids("queried")
        if unanswered and is_open:
            warn_user(
                f"{many(len(unanswered), 'image')} asked for but not answered, e.g. {unanswered[0]!r}: training goes "
                "without them; they stay open, and a later collect takes their answers"
            )
        metrics = loop.train()
        trained = [past.number for past in workspace.rounds() if past.is_over]
        if trained == [past.number for past in before if past.is_over]:
            print(f"round {trained[-1]} is trained already:")
        print(metrics_text(metrics) or "trained; nothing is measured, because the workspace has no test set")
        print(f"next: {next_step(workspace, args.workspace)}")


def _status(args: argparse.Namespace) -> None:
    with Workspace.open(args.workspace, read_only=True) as workspace:
        counts, history, rounds = workspace.counts(), workspace.history(), workspace.rounds()
        print(f"{many(sum(counts.values()), 'image')}: {in_words(counts)}")
        print(list_classes(workspace.classes))
        print(f"queries are answered by {answered_by(workspace.folder) or 'nobody so far'}")
        if rounds:
            print(f"round {rounds[-1].number} {STAGES[rounds[-1].stage]}")
            print(history_table(history))
        if len(changes := workspace.changes()):
            print("changes besides the rounds:")
        for change in changes.tail(LAST_CHANGES).itertuples():
            print(f"  {change.time} {change.what}: {change.summary}")
        if any(past.stage == "trained" for past in rounds):
            print(advise_on(workspace).reason)
        print(f"next: {next_step(workspace, args.workspace)}")


def _report(args: argparse.Namespace) -> None:
    from ...report import write_report

    with Workspace.open(args.workspace, read_only=True) as workspace:
        print(write_report(workspace, args.out))
