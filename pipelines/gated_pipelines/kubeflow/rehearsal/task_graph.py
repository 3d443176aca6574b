"""A compiled pipeline file as plain values: its parameters, and its tasks in an order in which they can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoint_gate.errors import ConfigError
from gated_pipelines.kubeflow.compiled_pipeline import CompiledPipeline, read_compiled


@dataclass(frozen=True, slots=True)
class Task:
    """One task with all that is needed to run it; mappings are the file's own, in protobuf's JSON names.

    Attributes:
      parameters, artifacts: where the inputs come from; the task's `inputs`.
      component: the task's `inputDefinitions` and `outputDefinitions`.
      container: `command`, `args`, `env`, `lifecycle`; the image and the resources are not used.
      needs: the tasks that have to be done before.
      retries: how often it is tried again after a failure.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    artifacts: Mapping[str, Mapping[str, Any]]
    component: Mapping[str, Any]
    container: Mapping[str, Any]
    needs: frozenset[str]
    retries: int

    @property
    def output_artifacts(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.component.get("outputDefinitions", {}).get("artifacts", {})
        return found

    @property
    def output_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.component.get("outputDefinitions", {}).get("parameters", {})
        return found

    @property
    def input_parameters(self) -> Mapping[str, Mapping[str, Any]]:
        found: Mapping[str, Mapping[str, Any]] = self.component.get("inputDefinitions", {}).get("parameters", {})
        return found


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """A compiled pipeline.

    Attributes:
      parameters: the pipeline's own, name -> `parameterType`, `defaultValue` and so on.
      tasks: each after those that it needs.
    """

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    tasks: tuple[Task, ...]

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)

    def below(self, name: str) -> set[str]:
        """The task and all that come to need it, however indirectly."""
        found = {name}
        for task in self.tasks:  # in order, so one pass is enough
            if task.needs & found:
                found.add(task.name)
        return found

    def above(self, name: str) -> set[str]:
        """All tasks that the task needs, however indirectly."""
        found = set(self.task(name).needs)
        for task in reversed(self.tasks):
            if task.name in found:
                found |= task.needs
        return found


def read_tasks(path: Path) -> TaskGraph:
    """Reads a compiled file whose tasks are all containers.

    Raises:
      ConfigError: the file holds no pipeline spec of schema 2.1.0, or needs what a rehearsal does not do.
    """
    compiled = read_compiled(path)
    spec = _spec(compiled)
    root = spec["root"]
    parts = [_task(path, spec, name, task) for name, task in root.get("dag", {}).get("tasks", {}).items()]
    if not parts:
        raise ConfigError(f"{path} has no tasks.")
    return TaskGraph(compiled.name, root.get("inputDefinitions", {}).get("parameters", {}), in_order(path, parts))


def _spec(compiled: CompiledPipeline) -> Mapping[str, Any]:
    """The spec with every key in protobuf's JSON spelling."""
    from google.protobuf import json_format
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    found: Mapping[str, Any] = json_format.MessageToDict(json_format.ParseDict(compiled.spec, PipelineSpec()))
    return found


def _task(path: Path, spec: Mapping[str, Any], name: str, task: Mapping[str, Any]) -> Task:
    component = spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    executor = executors.get(component.get("executorLabel"), {})
    if "container" not in executor:
        kind = next(iter(executor), "no executor")
        raise ConfigError(f"{path}: the task {name} must be executed by a container to be rehearsed. Received: {kind}.")
    for clause in ("parameterIterator", "artifactIterator"):
        if clause in task:
            raise ConfigError(f"{path}: the task {name} is repeated by a {clause}, which a rehearsal does not do.")
    if task.get("triggerPolicy", {}).get("condition"):
        raise ConfigError(f"{path}: the task {name} has a condition, which a rehearsal does not judge.")
    inputs = task.get("inputs", {})
    parameters, artifacts = inputs.get("parameters", {}), inputs.get("artifacts", {})
    producers = {
        source["producerTask"]
        for one in (*parameters.values(), *artifacts.values())
        for kind in ("taskOutputParameter", "taskOutputArtifact")
        if (source := one.get(kind)) is not None
    }
    return Task(
        name=name,
        parameters=parameters,
        artifacts=artifacts,
        component=component,
        container=executor["container"],
        needs=frozenset(producers | set(task.get("dependentTasks", []))),
        retries=int(task.get("retryPolicy", {}).get("maxRetryCount", 0)),
    )


def in_order(path: Path, tasks: list[Task]) -> tuple[Task, ...]:
    """The tasks, each after those that it needs; of those that could be next, the one that most others wait for.

    Raises:
      ConfigError: a task needs one that is not there, or tasks wait for one another.
    """
    known = {task.name: task for task in tasks}
    for task in tasks:
        for missing in sorted(task.needs - set(known)):
            raise ConfigError(f"{path}: the task {task.name} needs the task {missing}, which is not in the file.")
    rounds: list[list[str]] = []
    done: set[str] = set()
    while len(done) < len(known):
        ready = [name for name, task in known.items() if name not in done and task.needs <= done]
        if not ready:
            waiting = ", ".join(sorted(set(known) - done))
            raise ConfigError(f"{path}: the tasks {waiting} wait for one another.")
        rounds.append(ready)
        done.update(ready)
    height: dict[str, int] = {}
    for name in (name for ready in reversed(rounds) for name in ready):
        height[name] = max((height[other] + 1 for other in height if name in known[other].needs), default=0)
    return tuple(known[name] for ready in rounds for name in sorted(ready, key=lambda name: (-height[name], name)))
