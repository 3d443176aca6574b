"""Submits and schedules on a server on loopback with the kfp SDK that is installed beside it; prints JSON.

What is printed: the SDK's version, each command's exit code, what the server refused, and every request without what
differs each time: ids and the time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import kfp
from compiled_sample import write_sample
from kfp_server import KfpServer

from gated_pipelines.cli import main

_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d-\d\d-\d\d")
_SCHEDULE = ("schedule", "kubeflow")


def call(*words: str) -> int:
    """Runs the command as the shell does; its exit code."""
    sys.argv = ["gated-pipeline", *words]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def run(folder: Path) -> dict[str, object]:
    """Everything that the commands ask of a server, one after another."""
    file = str(write_sample(folder / "compiled.yaml"))
    create = (*_SCHEDULE, "create", file)
    commands = [
        ("submit", file, "--wait"),
        ("submit", file, "-p", "epochs=3", "--root", "s3://mine", "--experiment", "tries", "--service-account", "me"),
        (*create, "--cron", "0 3 * * *"),
        (*create, "--cron", "0 3 * * *"),
        (*create, "--cron", "0 4 * * *", "--start", "2127-01-01", "--end", "2128-01-01", "--replace"),
        (*_SCHEDULE, "list"),
        (*_SCHEDULE, "pause", "penguins"),
        (*_SCHEDULE, "resume", "penguins"),
        (*_SCHEDULE, "delete", "penguins"),
    ]
    with KfpServer() as server:
        codes = [call(*command, "--host", server.url) for command in commands]
        server.multi_user = True
        codes.append(call("submit", file, "--host", server.url, "--namespace", "mine"))
        server.fault = "login"
        codes.append(call("submit", file, "--host", server.url))
        asked = [request for request in server.requests if not request[1].endswith("healthz")]
        told = _TIME.sub("<time>", _ID.sub("<id>", json.dumps(asked)))
    return {"version": kfp.__version__, "codes": codes, "refusals": server.refusals, "requests": json.loads(told)}


if __name__ == "__main__":
    for name in ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KUBECONFIG"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HOME"] = scratch
        kfp.Client._LOCAL_KFP_CONTEXT = f"{scratch}/context.json"
        print(json.dumps(run(Path(scratch))))
