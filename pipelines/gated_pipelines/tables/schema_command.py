"""The command `gated-pipeline schema`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import click

from checkpoint_gate.errors import ConfigError


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file.  [default: print it]")
@click.option("--span", type=click.IntRange(min=0, max=10**18 - 1), metavar="N", help="As for run.")
def schema(pipeline: Path, output: Path | None, span: int | None) -> None:
    """Write a schema inferred from the table of PIPELINE (a pipeline.yaml), for a person to edit.

    A pipeline reads it where data.schema names the file.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if output is not None and output.exists():
        raise ConfigError(f"{output} is there already and stays as it is; remove it, or choose another name.")
    click.echo("Loading TensorFlow Data Validation …", err=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gated_pipelines.curated_schema.inferring import inferred_schema
    text = inferred_schema(pipeline, "" if span is None else str(span))
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
    click.echo(f"Wrote {output}. Edit it, and name it in {pipeline} as data.schema.", err=True)
