"""The options that say what of a compiled pipeline is to run, and how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gated_pipelines.kubeflow.servers.backend import Job
from gated_pipelines.kubeflow.servers.server_options import Server

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option("-p", "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="In place of a default."),
    click.option("--root", metavar="URI", help="Everything goes below this folder.  [default: the compiled one]"),
    click.option("--experiment", help="The group of runs.  [default: Default]"),
    click.option("--service-account", help="That runs the tasks.  [default: the server's]"),
    click.option(
        "--cache/--no-cache",
        default=False,
        help="Skip tasks that were executed before, where the compiled file allows it.",
    ),
)


def job_options(command: _Command) -> _Command:
    """Adds the options; the command takes them as keywords, for `job_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def job_of(compiled: Path, server: Server, options: dict[str, Any]) -> Job:
    """What the options mean for a compiled file on a server.

    Raises:
      ConfigError: the file, an argument or the root is wrong.
    """
    from gated_pipelines.kubeflow.servers.submitting import make_job

    return make_job(
        compiled,
        options["parameters"],
        options["root"],
        server.schemes,
        cache=options["cache"],
        experiment=options["experiment"] or "",
        service_account=options["service_account"] or "",
    )
