"""`gated-pipeline schedule`: each kind of scheduler brings its commands."""

from __future__ import annotations

import click

from gated_pipelines.kubeflow.servers.schedule_command import kubeflow
from gated_pipelines.local_schedule.command import local, print_lines


@click.group()
def schedule() -> None:
    """Train again and again, at the times of a schedule."""


for command in (local, print_lines, kubeflow):
    schedule.add_command(command)
