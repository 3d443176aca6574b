"""`gated-pipeline schedule`: each kind of scheduler brings its commands."""

from __future__ import annotations

import click

from gated_pipelines.kubeflow.servers.schedule_command import kubeflow


@click.group()
def schedule() -> None:
    """Train again and again, at the times of a schedule."""


schedule.add_command(kubeflow)
