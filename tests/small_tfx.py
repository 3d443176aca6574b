"""A pipeline of two components in small, for TFX's own runner. No annotations from the future: TFX reads these."""

from pathlib import Path

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import Model

from gated_pipelines.running.places import Places


@component
def Make(words: Parameter[str], made: OutputArtifact[Model]):
    Path(made.uri).mkdir(parents=True, exist_ok=True)
    Path(made.uri, "words").write_text(words)


@component
def Copy(made: InputArtifact[Model], copied: OutputArtifact[Model]):
    Path(copied.uri).mkdir(parents=True, exist_ok=True)
    Path(copied.uri, "words").write_text(Path(made.uri, "words").read_text())


def run_small(places: Places, words: str) -> None:
    """Runs the pipeline with TFX's cache."""
    make = Make(words=words)
    copy = Copy(made=make.outputs["made"])
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="small",
            pipeline_root=str(places.artifacts),
            components=[make, copy],
            enable_cache=True,
            metadata_connection_config=sqlite_metadata_connection_config(str(places.metadata)),
        )
    )
