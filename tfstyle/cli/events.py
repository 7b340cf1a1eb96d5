"""Prints results: their paths, or with --json the events of a run, one JSON object a line.

{"event": "start", "command": "stylize", "version": …, …}    once all arguments have been checked
{"event": "step", "step": 1, "steps": 128, …}                after each step, in train each epoch
{"event": "result", "output": "photo.painting.png", …}       for each result, once its file is written
{"event": "skipped", "content": "b.jpg", "message": …}       for each picture that was opened and could not be painted
{"event": "error", "exit_code": 3, "message": …}             instead of the rest, if a run fails or is interrupted

Files of a folder that cannot be opened as pictures are named on standard error alone. Without --json a result whose
name holds a newline takes two lines of standard output: use --json for such names.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

import tfstyle


def emit(event: str, **facts: Any) -> None:
    """Prints one event."""
    print(json.dumps({"event": event} | facts), flush=True)


def start(options: argparse.Namespace, **facts: Any) -> None:
    """Says that a command has checked its arguments and begins, if --json is given."""
    if options.json:
        command = " ".join([options.command, *([options.kind] if options.command == "train" else [])])
        emit("start", command=command, version=tfstyle.__version__, **facts)


def result(options: argparse.Namespace, output: Path, **facts: Any) -> None:
    """Prints the path of a result, or its event."""
    if options.json:
        emit("result", output=str(output), **facts)
    else:
        print(output, flush=True)


def skipped(options: argparse.Namespace, content: Path, message: str) -> None:
    """Says that a picture was passed over, if --json is given."""
    if options.json:
        emit("skipped", content=str(content), message=message)


def error(exit_code: int, message: str) -> None:
    """Says how a run ended that did not succeed."""
    with contextlib.suppress(OSError):
        emit("error", exit_code=exit_code, message=message)
