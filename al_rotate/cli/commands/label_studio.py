"""The commands for Label Studio: studio, connect and serve."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ...data import SHOWN_SCORE
from ..arguments import (
    CHECKPOINT_HELP,
    CONFIG_HELP,
    AddCommand,
    Renamed,
    add_device,
    add_workspace,
    as_pairs,
    port,
    score,
    whole_number,
)
from ..wording import print_next
from . import cfg_options

POLICIES = ("latest", "ground-truth", "agreement")
POLICY_HELP = "whose answer counts where several people gave one; by default %(default)s"
POLYGONS_HELP = "take polygons as their smallest rectangle, as is the default, or hold their images back"


def add(add_command: AddCommand) -> None:
    """Add the commands to the parser."""
    _add_studio(add_command)
    _add_connect(add_command)
    _add_serve(add_command)


def _add_studio(add_command: AddCommand) -> None:
    studio = add_command(
        "studio",
        _studio,
        "Start a Label Studio server of your own with the workspace's query in it.",
        "al-rotate studio work",
    )
    add_workspace(studio)
    studio.add_argument("--port", type=port, help="by default 8080, or a free one when it is taken")
    venv = "environment to install Label Studio into; by default one in the cache"
    studio.add_argument("--venv", type=Path, help=venv)


def _add_connect(add_command: AddCommand) -> None:
    connect = add_command(
        "connect",
        _connect,
        "Let a running Label Studio server answer a workspace; the token comes from LABEL_STUDIO_API_KEY.",
        "al-rotate connect work --url http://localhost:8080 --image-source local --document-root /data",
    )
    add_workspace(connect)
    connect.add_argument("--url", required=True, help="of the server")
    connect.add_argument("--project", help="title of the project, created if need be; by default the workspace's name")
    connect.add_argument("--token-file", type=Path, help="instead of LABEL_STUDIO_API_KEY; read each time")
    source = "where the server gets images from: local, upload (the default), or 's3://bucket/{image_id}{suffix}'"
    connect.add_argument("--image-source", default="upload", metavar="SOURCE", help=source)
    connect.add_argument("--images", dest="image_source", action=Renamed, new="--image-source")
    connect.add_argument("--document-root", type=Path, help="with local: the server's LOCAL_FILES_DOCUMENT_ROOT")
    shown = "least score of a box that is sent; by default each query decides which are quicker to correct than to draw"
    connect.add_argument("--shown", type=score, metavar="SCORE", help=shown)
    connect.add_argument("--policy", choices=POLICIES, default="latest", help=POLICY_HELP)
    connect.add_argument("--polygons", action=argparse.BooleanOptionalAction, default=True, help=POLYGONS_HELP)
    connect.add_argument("--rename", nargs="+", metavar="LABEL=CLASS", help="labels with other names in the project")


def _add_serve(add_command: AddCommand) -> None:
    serve = add_command(
        "serve",
        _serve,
        "Serve predictions and trainings to Label Studio (Settings, Model).",
        "al-rotate serve --config rotated_rtmdet_tiny-3x-dota --checkpoint rtmdet.pth --device cpu --port 8003",
    )
    serve.add_argument("workspace", type=Path, nargs="?", help="its latest checkpoint is served and fine-tuned")
    serve.add_argument("--config", help=f"without a workspace: {CONFIG_HELP}")
    serve.add_argument("--checkpoint", help=CHECKPOINT_HELP)
    add_device(serve)
    trainings = "without a workspace: where trainings go; by default al_rotate_backend"
    serve.add_argument("--work-dir", type=Path, help=trainings)
    host = "address to listen at; by default %(default)s; any other one needs --user and AL_ROTATE_PASSWORD"
    serve.add_argument("--host", default="127.0.0.1", help=host)
    serve.add_argument("--port", type=port, default=8003, help="by default %(default)s")
    serve.add_argument("--user", help="basic auth; the password comes from AL_ROTATE_PASSWORD")
    shown = f"least score of a box that is shown; by default as the workspace queries, without one {SHOWN_SCORE}"
    serve.add_argument("--score-thr", type=score, metavar="SCORE", help=shown)
    serve.add_argument("--url", help="Label Studio's address; by default the workspace's, else LABEL_STUDIO_URL")
    serve.add_argument("--document-root", type=Path, help="Label Studio's LOCAL_FILES_DOCUMENT_ROOT")
    serve.add_argument("--allow-host", nargs="+", default=[], metavar="HOST", help="from which images may be fetched")
    every = "fine-tune after this many new annotations; by default %(default)s: never"
    serve.add_argument("--train-every", type=whole_number(0), default=0, metavar="N", help=every)


def _studio(args: argparse.Namespace) -> None:
    from ...bridge import studio

    studio.run(args.workspace, args.port, args.venv)


def _connect(args: argparse.Namespace) -> None:
    from ...bridge import Connection, connect
    from ...workspace import Workspace

    with Workspace.open(args.workspace, read_only=True) as workspace:
        classes = workspace.classes
    options = {
        "images": args.image_source,
        "document_root": args.document_root and str(args.document_root.absolute()),
        "token_file": args.token_file and str(args.token_file.absolute()),
        "shown": args.shown,
        "policy": args.policy,
        "polygons": args.polygons,
        "rename": as_pairs(args.rename, "--rename as LABEL=CLASS") or None,
    }
    token = Connection(args.url, 0, token_file=options["token_file"]).token()
    connection = connect(args.workspace, args.url, token, classes, args.project, **options)
    print(f"{args.workspace} is answered by {connection.url}/projects/{connection.project}/data")
    with Workspace.open(args.workspace, read_only=True) as workspace:
        print_next(workspace, args.workspace)


def _serve(args: argparse.Namespace) -> None:
    from ...bridge.backend.app import serve

    if args.config is not None:
        cfg_options.check(args.config, args.cfg_options)
    if (args.workspace is None) == (args.config is None):
        raise ValueError("expected a workspace, or --config and --checkpoint")
    serve(
        workspace=args.workspace,
        config=args.config,
        checkpoint=args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        work_dir=args.work_dir,
        host=args.host,
        port=args.port,
        user=args.user,
        password=os.environ.get("AL_ROTATE_PASSWORD"),
        score_thr=args.score_thr,
        document_root=args.document_root,
        allow_hosts=args.allow_host,
        train_every=args.train_every,
        label_studio=args.url,
    )
