"""The command `gated-pipeline compile`."""

from __future__ import annotations

import difflib
import itertools
import os
import warnings
from pathlib import Path

import click

from checkpoint_gate.errors import ConfigError

_SHOWN = 40  # lines of a difference


@click.command("compile")
@click.argument("pipeline", type=click.Path(path_type=Path))
@click.option("--image", required=True, metavar="IMG", help="The container image of every component, with its tag.")
@click.option(
    "--root", required=True, metavar="URI", help="Everything goes below it, such as gs://bucket/penguins; the default."
)
@click.option("--data", metavar="URI", help="The table.  [default: data/<its name>, below the root]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when the file is not as it would be written.")
def compile_command(pipeline: Path, image: str, root: str, data: str | None, output: Path, check: bool) -> None:
    """Compile PIPELINE (a pipeline.yaml) to one file for Kubeflow Pipelines, open source and Vertex AI.

    The columns and classes of its table as it is now are compiled in. What may be set whenever a run is started,
    without compiling again, is: data, span, root, push_folder, epochs, rules.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    click.echo("Loading TensorFlow Extended …", err=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gated_pipelines.kubeflow.compile.compiling import compile_pipeline
    compiled = compile_pipeline(pipeline, image, root, data)
    for sentence in compiled.without_effect:
        click.echo(f"Warning: {sentence}", err=True)
    if check:
        _check(output, compiled.text)
    else:
        _write(output, compiled.text)
        click.echo(f"Wrote {output}. Check it with: gated-pipeline lint {output}")


def _check(output: Path, text: str) -> None:
    try:
        there = output.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{output} cannot be read: {error}.") from None
    if there != text:
        changed = difflib.unified_diff(
            there.splitlines(), text.splitlines(), str(output), "compiled now", "", "", 1, ""
        )
        click.echo("\n".join(itertools.islice(changed, _SHOWN)), err=True)
        raise ConfigError(f"{output} is not what its pipeline.yaml compiles to now; compile it again without --check.")
    click.echo(f"{output} is what its pipeline.yaml compiles to.")


def _write(output: Path, text: str) -> None:
    from checkpoint_gate.store.files import LocalFiles

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        LocalFiles(output.absolute().parent).replace(output.name, text.encode())
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None
