"""Prints results: their paths or, with --json, events, one JSON object per line.

{"event": "start", "command": "stylize", "version": …, …}    once all arguments have been checked
{"event": "step", "step": 1, "steps": 128, …}                after each step, in train after each epoch
{"event": "result", "output": "photo.painting.png", …}       for each result, once its file is written
{"event": "skipped", "content": "b.jpg", "message": …}       for each picture that was opened but not stylized
{"event": "error", "exit_code": 3, "message": …}             last, if the run fails or is interrupted

Files of a folder that cannot be opened as pictures are named on standard error only. Without --json a path that
contains a newline takes two lines of standard output.
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
    """Prints the event for the start of a command after its checks, if --json is given."""
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
    """Prints the event for a skipped picture, if --json is given."""
    if options.json:
        emit("skipped", content=str(content), message=message)


def error(exit_code: int, message: str) -> None:
    """Prints the event for a failed or interrupted run, if standard output can be written."""
    with contextlib.suppress(OSError):
        emit("error", exit_code=exit_code, message=message)
