"""A pipeline of a stand-in for Trainer, and CheckpointFilter. No annotations from the future: TFX reads these."""

from pathlib import Path

from ml_metadata.proto.metadata_store_pb2 import ConnectionConfig
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types.standard_artifacts import ModelRun

from checkpoint_gate.artifact_files.pointer import RunPointer
from checkpoint_gate.checkpoint_filter import CheckpointFilter


@component
def Trained(store: Parameter[str], key: Parameter[str], model_run: OutputArtifact[ModelRun]):
    RunPointer(store, key).write(Path(model_run.uri))


def run_filtering(artifacts: Path, store: Path, key: str, rules: str, metadata: ConnectionConfig) -> None:
    """Runs the pipeline with TFX's cache."""
    trained = Trained(store=str(store), key=key)
    survivors = CheckpointFilter(model_run=trained.outputs["model_run"], rules=rules)
    LocalDagRunner().run(
        Pipeline(
            pipeline_name="filtering",
            pipeline_root=str(artifacts),
            components=[trained, survivors],
            enable_cache=True,
            metadata_connection_config=metadata,
        )
    )
