"""The commands of the loop: query, review, collect, train and status."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from ...loop import ActiveLoop
from ...sampling import Budget
from ...storage.plurals import many
from ...storage.user_warnings import warn_user
from ...workspace import REVIEW, Round, Workspace
from ...workspace.artefacts import read_showing_rule
from ...workspace.progress import advise_on
from ...workspace.versions import labelled_set_file
from ..arguments import (
    AddCommand,
    add_budget,
    add_cfg_options,
    add_cost,
    add_strategy_arguments,
    add_training,
    add_workspace,
    as_cost,
    as_options,
    as_schedule,
    number,
    whole_number,
)
from ..json_output import add_json, only_json, print_json
from ..wording import (
    STAGES,
    answered_by,
    describe_change,
    describe_training,
    history_table,
    in_words,
    list_classes,
    metrics_text,
    next_commands,
    next_step,
    print_next,
)
from . import cfg_options

SHOWN_IMAGES = 10  # of a query
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
    add_cost(query, "the workspace's, or else ")
    add_json(query)

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
    add_training(train, "the workspace's")

    status = add_command("status", _status, "Show where a workspace stands.", "al-rotate status work")
    add_workspace(status)
    add_json(status)


def open_loop(folder: Path, **options: Any) -> ActiveLoop:
    """Open the loop of an existing workspace; FileNotFoundError names the command that makes one."""
    Workspace.open(folder, read_only=True).close()
    return ActiveLoop(folder, **options)


@contextmanager
def leading_on(workspace: Workspace, typed: Path, command: str) -> Iterator[None]:
    """Let what a step refuses end with the next command, unless that is the same one again."""
    try:
        yield
    except ValueError as error:
        following = next_step(workspace, typed)
        if following.startswith(f"next: al-rotate {command} "):
            raise
        raise ValueError(f"{error}; {following}") from error


def _query(args: argparse.Namespace) -> None:
    seconds = None if args.minutes is None else max(1, round(60 * args.minutes))
    limited = (args.budget, args.boxes, seconds) != (None, None, None)
    budget = Budget(images=args.budget, boxes=args.boxes, seconds=seconds) if limited else None
    options = as_options(args.options) or None
    cost = as_cost(args.cost)
    with open_loop(args.workspace, strategy=args.strategy, budget=budget, strategy_options=options, cost=cost) as loop:
        before = _open_round(loop.workspace)
        if before is not None and _asks_otherwise(args, loop.workspace, before):
            warn_user(f"round {before.number} has queried already, and a round queries once: this is its query")
        with leading_on(loop.workspace, args.workspace, "query"), only_json(args.json):
            selection = loop.query()
        if not args.json:
            return _print_query(loop, selection, args.workspace)
        current = _open_round(loop.workspace)
        document = {"round": current.number, "strategy": current.strategy} if current else {"round": None}
        following = next_commands(loop.workspace, args.workspace)
        print_json({**document, "selection": selection, "next": following})


def _asks_otherwise(args: argparse.Namespace, workspace: Workspace, before: Round) -> bool:
    """Whether these arguments would have made another query; the same ones are given again after a kill."""
    count, is_used_up = len(workspace.query(before.number)), not workspace.ids("unlabelled")
    another_count = args.budget is not None and (args.budget < count or (args.budget > count and not is_used_up))
    return another_count or before.strategy not in (args.strategy or before.strategy, "random")


def _review(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        before = _open_round(loop.workspace)
        if before is not None and before.strategy != REVIEW:
            raise ValueError(
                f"round {before.number} has queried images and is not trained yet: review after that; "
                f"{next_step(loop.workspace, args.workspace)}"
            )
        with leading_on(loop.workspace, args.workspace, "review"):
            _print_query(loop, loop.review(args.budget), args.workspace)


def _open_round(workspace: Workspace) -> Round | None:
    """Return the round that has queried and is not trained yet."""
    rounds = workspace.rounds()
    return rounds[-1] if rounds and rounds[-1].stage in ("queried", "collected") else None


def _print_query(loop: ActiveLoop, selection: pd.DataFrame, typed: Path) -> None:
    current = _open_round(loop.workspace)
    if current is None:
        print(f"no image is left to query; {many(len(selection), 'image')} of earlier rounds waiting for an answer:")
    else:
        order = "in random order" if current.strategy == "random" else "the most useful first"
        print(f"round {current.number}: {many(len(selection), 'image')} queried, {order}:")
    shown = selection.head(SHOWN_IMAGES)
    print("\n".join(f"  {image_id}: {why}" for image_id, why in zip(shown["image_id"], shown["why"], strict=True)))
    if current is not None:
        if current.strategy != REVIEW and (why := read_showing_rule(current.folder).why):
            print(why)
        print(f"all of them: {current.folder / 'selection.csv'}")
    print_next(loop.workspace, typed)


def _collect(args: argparse.Namespace) -> None:
    with open_loop(args.workspace) as loop:
        workspace, current = loop.workspace, _open_round(loop.workspace)
        if current is None and not workspace.ids("queried"):
            raise ValueError(f"no image waits for an answer; {next_step(workspace, args.workspace)}")
        if loop.annotator is None and (current is None or current.stage == "queried"):
            raise ValueError(f"nobody answers this workspace yet; {next_step(workspace, args.workspace)}")
        counts = Counter(loop.collect()["status"])
        print(f"{f'round {current.number}' if current else 'earlier rounds'}: {in_words(counts)}")
        print_next(workspace, args.workspace)


def _train(args: argparse.Namespace) -> None:
    training = {"schedule": as_schedule(args.schedule), "pseudo_labels": args.pseudo_labels}
    with open_loop(args.workspace, train_options=args.cfg_options, **training) as loop:
        workspace, before = loop.workspace, loop.workspace.rounds()
        unanswered = workspace.ids("queried")
        with leading_on(workspace, args.workspace, "train"):
            _require_labels(workspace)
            will_train = _open_round(workspace) or workspace.waits_to_be_trained_on(len(before))
            config = workspace.folder / loop.settings.config
            if config.is_file() and (will_train or args.cfg_options):
                cfg_options.check(config, args.cfg_options, training=True)
            if unanswered and will_train:
                warn_user(
                    f"{many(len(unanswered), 'image')} asked for but not answered, e.g. {unanswered[0]!r}: training "
                    "goes without them; they stay open, and a later collect() takes their answers"
                )
            if will_train and (schedule := loop.settings.schedule):
                print(describe_training(schedule, len(workspace.labels())))
            metrics = loop.train()
        trained = [past.number for past in workspace.rounds() if past.stage == "trained"]
        if trained == [past.number for past in before if past.stage == "trained"]:
            print(f"round {trained[-1]} is trained already:")
        print(metrics_text(metrics))
        if labelled_set_file(workspace, "test") is None:
            print("mAP is not measured, because the workspace has no test set")
        print_next(workspace, args.workspace)


def _require_labels(workspace: Workspace) -> None:
    current = _open_round(workspace)
    if current is None or current.stage != "queried":
        if not workspace.ids("labelled"):
            raise ValueError("nothing is labelled yet")
    elif "labelled" not in [*workspace.query(current.number)["status"]]:
        if not workspace.waits_to_be_trained_on(current.number):
            raise ValueError(f"nothing of round {current.number} is labelled yet")


def _status(args: argparse.Namespace) -> None:
    with Workspace.open(args.workspace, read_only=True) as workspace:
        counts, history, rounds = workspace.counts(), workspace.history(), workspace.rounds()
        annotator, changes = answered_by(workspace.folder), workspace.changes()
        advice = advise_on(workspace) if any(past.stage == "trained" for past in rounds) else None
        if args.json:
            following = next_commands(workspace, args.workspace)
            document: dict[str, Any] = {"images": counts, "classes": workspace.classes, "annotator": annotator}
            document |= {
                "rounds": history,
                "changes": changes,
                "advice": advice.reason if advice else None,
                "next": following,
            }
            return print_json(document)
        print(f"{many(sum(counts.values()), 'image')}: {in_words(counts)}")
        print(list_classes(workspace.classes))
        print(f"queries are answered by {annotator or 'nobody so far'}")
        if rounds:
            print(f"round {rounds[-1].number} {STAGES[rounds[-1].stage]}")
            print(history_table(history))
        if len(changes):
            print("changes besides the rounds:")
        for time, what, summary in changes[["time", "what", "summary"]].tail(LAST_CHANGES).to_numpy().tolist():
            print(f"  {time} {describe_change(what, summary)}")
        if advice:
            print(f"another round? {advice.reason}")
        print_next(workspace, args.workspace)
