"""A real ML Metadata database and real files, as pipeline runs leave them, without any pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from gated_pipelines.running.places import Places

_STATES = mlmd.Execution.State


class SmallRuns:
    """Pipeline runs of executions that read and write artifacts; everything below one root."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.places.artifacts.mkdir(parents=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(self.places.metadata)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(config)
        self._contexts = {
            name: self.store.put_context_type(mlmd.ContextType(name=name)) for name in ("pipeline", "pipeline_run")
        }
        self._pipelines: dict[str, int] = {}
        self._runs: dict[int, int] = {}

    def run(self, pipeline: str = "p") -> int:
        """A new pipeline run; answers with its id."""
        if pipeline not in self._pipelines:
            self._pipelines[pipeline] = self._context("pipeline", pipeline)
        run = self._context("pipeline_run", f"run-{len(self._runs):04d}")
        self._runs[run] = self._pipelines[pipeline]
        return run

    def _context(self, kind: str, name: str) -> int:
        return self.store.put_contexts([mlmd.Context(type_id=self._contexts[kind], name=name)])[0]

    def execution(
        self,
        run: int | None,
        component: str = "Trainer",
        inputs: Iterable[int] = (),
        outputs: Iterable[int] = (),
        state: str = "COMPLETE",
        **texts: str,
    ) -> int:
        """An execution of `run`, of none where that is None; answers with its id."""
        kind = self.store.put_execution_type(mlmd.ExecutionType(name=f"small.{component}"))
        made = mlmd.Execution(type_id=kind, last_known_state=_STATES.Value(state))
        for name, text in texts.items():
            made.custom_properties[name].string_value = text
        [id] = self.store.put_executions([made])
        events = [mlmd.Event(execution_id=id, artifact_id=a, type=mlmd.Event.INPUT) for a in inputs]
        events += [mlmd.Event(execution_id=id, artifact_id=a, type=mlmd.Event.OUTPUT) for a in outputs]
        if events:
            self.store.put_events(events)
        contexts = [run, self._runs[run]] if run is not None else []
        associations = [mlmd.Association(context_id=context, execution_id=id) for context in contexts]
        self.store.put_attributions_and_associations([], associations)
        return id

    def artifact(
        self,
        uri: str | Path,
        files: dict[str, bytes] | None = None,
        state: str = "LIVE",
        kind: str = "Model",
        **notes: str | int,
    ) -> int:
        """An artifact at `uri`, below the artifacts folder where it is relative, with files in it."""
        place = uri if "://" in str(uri) else str(self.places.artifacts / uri)
        type_id = self.store.put_artifact_type(mlmd.ArtifactType(name=kind))
        made = mlmd.Artifact(type_id=type_id, uri=place, state=mlmd.Artifact.State.Value(state))
        for name, value in notes.items():
            if isinstance(value, int):
                made.custom_properties[name].int_value = value
            else:
                made.custom_properties[name].string_value = value
        for name, data in (files or {}).items():
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return int(self.store.put_artifacts([made])[0])

    def step(
        self, run: int, component: str = "Trainer", inputs: Iterable[int] = (), size: int = 100, **texts: str
    ) -> int:
        """A component that made one artifact of `size` bytes; answers with its id."""
        number = len(self.store.get_artifacts()) + 1
        made = self.artifact(f"{component}/out/{number}", {"a/one": b"x" * (size - 1), "two": b"y"})
        self.execution(run, component, inputs, [made], **texts)
        return made

    def states(self) -> dict[int, str]:
        """Artifact -> its state."""
        return {a.id: mlmd.Artifact.State.Name(a.state) for a in self.store.get_artifacts()}

    def has_bytes(self, artifact: int) -> bool:
        [found] = self.store.get_artifacts_by_id([artifact])
        return any(path.is_file() for path in Path(found.uri).rglob("*"))
