"""All survivors in one pass, as CheckpointEvaluator does it, against TFMA with one model for each: processor seconds.

Both sides measure the same metrics of the same survivors on the same examples, 5 of them on 20,000 rows; each run is a
process of its own, and counts from the survivors on disk to TFMA's written results, imports left out. The second line
is about memory: the largest resident set of such a process with 50 survivors on 1,000 rows, in MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from compared.sides import in_turn, line

sys.path.insert(0, str(Path(__file__).parents[1]))

CONFIG = """
model_specs {
  signature_name: "serving_default" label_key: "kind_xf" preprocessing_function_names: "transform_features"
}
slicing_specs {}
slicing_specs { feature_keys: "colour" }
metrics_specs {
  metrics { class_name: "ExampleCount" }
  metrics { class_name: "SparseCategoricalCrossentropy" }
  metrics { class_name: "SparseCategoricalAccuracy" }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=1, help="how often each side is run")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)  # a side's own process: which, and its folder
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.side is not None:
        print(json.dumps(run_side(arguments.side[0], Path(arguments.side[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="evaluate_survivors-") as folder:
        speed = compare(Path(folder) / "speed", arguments.n, survivors=5, rows=20_000)
        print(line_of("evaluate_survivors", "cpu s", "cpu", speed), flush=True)
        memory = compare(Path(folder) / "memory", arguments.n, survivors=50, rows=1_000)
        print(line_of("evaluate_survivors_memory", "MiB", "peak", memory))


def compare(folder: Path, n: int, survivors: int, rows: int) -> dict[str, list[dict[str, float]]]:
    """Runs both sides in turn, n times each; what each run took."""
    make_world(folder, survivors, rows)

    def side(name: str, number: int) -> dict[str, float]:
        target = folder / f"{name}-{number}"
        target.mkdir()
        command = [sys.executable, __file__, "--side", name, str(target)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return found

    taken = in_turn(n, {name: partial(side, name) for name in ("ours", "peer")})
    losses = [runs[-1].pop("loss") for runs in taken.values()]
    if abs(losses[0] - losses[1]) > 1e-5 * abs(losses[1]):
        raise SystemExit(f"the two sides measured different losses: {losses}")
    return taken


def line_of(name: str, unit: str, key: str, taken: dict[str, list[dict[str, float]]]) -> str:
    return line(name, unit, *([run[key] for run in taken[side]] for side in ("ours", "peer")), processes=taken)


def make_world(folder: Path, survivors: int, rows: int) -> None:
    import small_table

    model = small_table.network(3, "softmax")
    values = model.get_weights()
    weights = [[w * (1 + n / 50) if w.dtype.kind == "f" else w for w in values] for n in range(survivors)]
    small_table.write_survivors(folder / "set", model, weights)
    small_table.write_examples(folder / "examples", small_table.rows(rows))
    small_table.export(model, folder / "trained")
    small_table.write_schema(folder / "schema")


def run_side(side: str, target: Path) -> dict[str, float]:
    """Evaluates the survivors beside `target` one way or the other."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import text_format
    from small_table import existing_world, run_evaluator

    from checkpoint_gate.checkpoint_set import read_set
    from checkpoint_gate.selection import Selector

    world = target.parent
    config = text_format.Parse(CONFIG, tfma.EvalConfig())
    inputs = existing_world(world)
    began, worked = time.perf_counter(), time.process_time()
    if side == "ours":
        run_evaluator(target, inputs, config, Selector("sparse_categorical_crossentropy", "min"))
    else:
        evaluate_with_tfma(target, world, config)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    last = read_set(world / "set")[-1].name
    result = tfma.load_eval_result(str(target / "evaluation"), model_name=last).get_metrics_for_slice()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    loss = result["sparse_categorical_crossentropy"]["doubleValue"]
    return {"cpu": round(processor, 2), "wall": round(seconds, 2), "peak": round(peak), "loss": loss}


def evaluate_with_tfma(target: Path, world: Path, config: Any) -> None:
    """What one would write without this project: a SavedModel and a named model spec for each checkpoint."""
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tfx.dsl.io import fileio
    from tfx_bsl.public import tfxio

    from checkpoint_gate.checkpoint_set import read_set
    from checkpoint_gate.exporting import export_steps

    survivors = read_set(world / "set")
    folders = {survivor.name: str(target / "models" / survivor.name) for survivor in survivors}
    for _ in export_steps(str(world / "trained" / "Format-Serving"), [(s.prefix, folders[s.name]) for s in survivors]):
        pass
    spec = config.model_specs[0]
    del config.model_specs[:]
    for name in folders:
        config.model_specs.add().CopyFrom(spec)
        config.model_specs[-1].name = name
    models = [
        tfma.default_eval_shared_model(eval_saved_model_path=path, model_name=name, eval_config=config)
        for name, path in folders.items()
    ]
    source = tfxio.TFExampleRecord(
        file_pattern=fileio.glob(str(world / "examples" / "Split-eval" / "*")),
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
        schema=schema_of(world),
    )
    with beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline:
        _ = (
            pipeline
            | source.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=models, eval_config=config, output_path=str(target / "evaluation")
            )
        )


def schema_of(world: Path) -> Any:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse((world / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema())


if __name__ == "__main__":
    main()
