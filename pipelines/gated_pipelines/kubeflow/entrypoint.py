"""What the containers of a compiled pipeline run: a TFX executor, under Vertex AI and open-source Kubeflow Pipelines.

    python -m gated_pipelines.kubeflow.entrypoint --executor_class_path CLASS
        --json_serialized_invocation_args EXECUTOR_INPUT
        [--json_serialized_inputs_spec_args JSON] [--json_serialized_outputs_spec_args JSON] [BEAM ARGUMENTS]

TFX's own container entrypoint does the work. Around it, artifacts get the types that the compiled file declares, are
brought to the local disk, and are handed over under the names that the launcher gave them.

Environment: GATED_PIPELINE_MIRROR is the folder that the launcher's mirrors are in, by default "/"; AWS_ENDPOINT_URL
tells where the server of minio:// is.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from checkpoint_gate.errors import CheckpointGateError, ConfigError
from checkpoint_gate.uri_files import read_file, told, write_file
from gated_pipelines.kubeflow.executor_input import (
    Json,
    change_text_parameters,
    change_texts,
    drop_launchers_own,
    fill_types,
    read_json,
    slots,
    title,
)
from gated_pipelines.kubeflow.mirrors import MIRROR_VARIABLE
from gated_pipelines.kubeflow.places import Disk, Place, as_named, hand_over, through_fsspec

_LOG = logging.getLogger(__name__)


def run(arguments: argparse.Namespace, beam_arguments: list[str], mirror: Path) -> None:
    """Runs one task.

    Args:
      arguments: those that `main` reads.
      beam_arguments: handed on to the executor.
      mirror: the folder that the launcher's /gcs, /s3 and /minio are in.

    Raises:
      CheckpointGateError: one sentence about what is wrong. Nothing was handed over then.
    """
    executor_input = read_json(arguments.json_serialized_invocation_args, "--json_serialized_invocation_args")
    inputs = read_json(arguments.json_serialized_inputs_spec_args or "{}", "--json_serialized_inputs_spec_args")
    outputs = read_json(arguments.json_serialized_outputs_spec_args or "{}", "--json_serialized_outputs_spec_args")
    drop_launchers_own(executor_input)
    fill_types(executor_input, {"inputs": inputs, "outputs": outputs})
    change_text_parameters(executor_input, through_fsspec)
    with tempfile.TemporaryDirectory(prefix="task-") as scratch:
        _run(arguments, beam_arguments, executor_input, Disk(mirror, Path(scratch)))


def _run(arguments: argparse.Namespace, beam_arguments: list[str], executor_input: Json, disk: Disk) -> None:
    _LOG.info("loading TensorFlow Extended …")
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    _require_importable(arguments.executor_class_path, executor_input)
    brought = [disk.bring(slot.artifact["uri"]) for slot in slots(executor_input, "inputs")]
    prepared = [disk.prepare(slot.artifact["uri"]) for slot in slots(executor_input, "outputs")]
    for slot, place in zip(slots(executor_input), [*brought, *prepared], strict=True):
        slot.artifact["uri"] = place.local
    report = disk.place(executor_input["outputs"]["outputFile"])
    # TFX keeps temporary files beside its report, and takes the name of the folder for that of the task.
    task, name = report.local.rstrip("/").split("/")[-2:]
    written = str(disk.scratch / "task" / task / name)
    executor_input["outputs"]["outputFile"] = written
    with told(f"{report.uri} could not be read"):
        _copy_report(report.remote or report.local, written)

    _LOG.info("running %s", arguments.executor_class_path)
    arguments.json_serialized_invocation_args = json.dumps(executor_input)
    kubeflow_v2_run_executor.main((arguments, beam_arguments))

    for place in prepared:
        hand_over(place)
    _write_report(written, report, [*prepared, *brought])
    _LOG.info("done: %s", arguments.executor_class_path)


def _require_importable(executor: str, executor_input: Json) -> None:
    """Imports the executor's class and the artifacts' types, so that what the image lacks is told in one sentence."""
    from tfx.orchestration.kubeflow.v2 import compiler_utils

    wanted = {executor: "the executor"}
    for slot in slots(executor_input):
        name = title(slot.artifact["type"]) or ""
        wanted[compiler_utils.TITLE_TO_CLASS_PATH.get(name, name)] = f"the type of {slot}"
    for path, what in wanted.items():
        module, _, name = path.rpartition(".")
        try:
            why = None if hasattr(importlib.import_module(module), name) else f"{module} has no {name}"
        except (ModuleNotFoundError, ValueError) as error:
            why = str(error)
        if why is not None:
            raise ConfigError(
                f"{path}, {what}, cannot be imported ({why}): the image must hold the code that the pipeline was "
                f"compiled with."
            )


def _copy_report(source: str, target: str) -> None:
    """Copies what a driver has written before the executor runs, where it has."""
    data = read_file(source)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if data is not None:
        write_file(target, data)


def _write_report(written: str, report: Place, places: Sequence[Place]) -> None:
    """Writes the ExecutorOutput to where the launcher looks for it, each folder named as the launcher names it."""
    value = read_json((read_file(written) or b"").decode(), "The ExecutorOutput")
    artifacts = change_texts(value.get("artifacts", {}), lambda text: as_named(text, places))
    data = json.dumps({**value, "artifacts": artifacts}, indent=1).encode()
    with told(f"{report.uri} could not be written"):
        write_file(report.remote or report.local, data)


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m gated_pipelines.kubeflow.entrypoint",
        description="Runs a TFX executor in a container of Kubeflow Pipelines or Vertex AI. "
        "Arguments not named here go to Beam.",
        allow_abbrev=False,
    )
    parser.add_argument("--executor_class_path", required=True, metavar="CLASS")
    parser.add_argument("--json_serialized_invocation_args", required=True, metavar="EXECUTOR_INPUT")
    for name in ("inputs", "outputs"):
        parser.add_argument(
            f"--json_serialized_{name}_spec_args", metavar="JSON", help=f"the {name} that the component declares"
        )
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a task; an error raised on purpose becomes one sentence and the exit code 1."""
    arguments, beam_arguments = _parse(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(arguments, beam_arguments, Path(os.environ.get(MIRROR_VARIABLE) or "/"))
    except CheckpointGateError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
