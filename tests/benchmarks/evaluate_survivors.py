"""All survivors in one pass, as CheckpointEvaluator does it, against TFMA itself: processor seconds, and memory.

Both sides measure the same metrics on the same examples of a table, each run in a process of its own, and count from
the survivors on disk to TFMA's written results, imports left out. Where the peer measures one survivor alone, its
metrics must be those that the other side found for the same survivor.

    evaluate_k10               10 survivors on 50,000 rows; TFMA on one of them
    evaluate_k10_intervals     the same with confidence intervals (jackknife)
    evaluate_k20_slice         20 survivors with a slice for each of three colours; TFMA on one, with the same slices
    growth_evaluate_rows       10 survivors on 2,000 to 50,000 rows; TFMA on one of them
    growth_evaluate_survivors  1 to 20 survivors on 2,000 rows; TFMA with a model for each
    evaluate_survivors_memory  the same with 20: the largest resident set, in MiB
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from compared.sides import in_turn, line

sys.path.insert(0, str(Path(__file__).parents[1]))

METRICS = (
    "ExampleCount",
    "BinaryCrossentropy",
    "BinaryAccuracy",
    "AUC",
    "AUCPrecisionRecall",
    "Precision",
    "Recall",
    "Calibration",
)
SIDES = ("ours", "peer")

Run = dict[str, Any]
Taken = dict[str, list[Run]]
"""Side -> what each of its runs took."""


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
      survivors, rows: how many.
      measured_by_peer: how many of them TFMA measures on the other side.
      slices: by the column of three colours.
      intervals: by the jackknife.
    """

    survivors: int
    rows: int
    measured_by_peer: int = 1
    slices: bool = False
    intervals: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--n", type=int, default=3, help="how often each side is run for the first three; once for the rest"
    )
    parser.add_argument("--quick", action="store_true", help="once and on few rows, to see that it runs")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)  # a side's own process: which, where, its setting
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.side is not None:
        side, target, setting = arguments.side
        print(json.dumps(run_side(side, Path(target), Setting(**json.loads(setting)))))
        return
    with tempfile.TemporaryDirectory(prefix="evaluate_survivors-") as folder:
        run_all(Worlds(Path(folder), arguments.quick), 1 if arguments.quick else arguments.n)


def run_all(worlds: Worlds, n: int) -> None:
    """Prints every line."""
    rows, many = (50, 2) if worlds.quick else (50_000, 10)
    alone = Setting(many, rows)
    for_goals = {
        "evaluate_k10": alone,
        "evaluate_k10_intervals": Setting(many, rows, intervals=True),
        "evaluate_k20_slice": Setting(2 * many, rows, slices=True),
    }
    found = {}
    for name, setting in for_goals.items():
        found[name] = worlds.compare(setting, n)
        worlds.print(name, "cpu s", found[name], setting)
    sizes = () if worlds.quick else (2_000, 10_000)
    runs = {size: worlds.compare(Setting(many, size), 1) for size in sizes} | {rows: found["evaluate_k10"]}
    worlds.print_curve("growth_evaluate_rows", "rows", runs, alone)
    counts = (2,) if worlds.quick else (1, 5, 10, 20)
    few = 20 if worlds.quick else 2_000
    runs = {count: worlds.compare(Setting(count, few, count), 1) for count in counts}
    most = Setting(counts[-1], few, counts[-1])
    worlds.print_curve("growth_evaluate_survivors", "survivors", runs, most)
    worlds.print("evaluate_survivors_memory", "MiB", runs[counts[-1]], most)


@dataclass
class Worlds:
    """Tables, exports and survivors below a folder, and what it takes to evaluate them."""

    folder: Path
    quick: bool
    made: int = 0

    def compare(self, setting: Setting, n: int) -> Taken:
        """Runs both sides in turn, n times each; what each run took."""
        self.made += 1
        folder = self.folder / str(self.made)
        make_world(folder, setting)
        taken = in_turn(n, {name: partial(run_process, folder, name, setting) for name in SIDES})
        for runs in zip(*taken.values(), strict=True):
            require_same(*(run.pop("metrics") for run in runs))
        return taken

    def print(self, name: str, unit: str, taken: Taken, setting: Setting, **detail: Any) -> None:
        key = "cpu" if unit == "cpu s" else "peak"
        peer = "TFMA on one model" if setting.measured_by_peer == 1 else "TFMA with a model for each"
        detail |= {"setting": asdict(setting), "metrics": METRICS, "compared_with": peer, "processes": taken}
        if self.quick:
            detail["quick"] = True
        print(line(name, unit, *([run[key] for run in taken[side]] for side in SIDES), **detail), flush=True)

    def print_curve(self, name: str, over: str, runs: Mapping[int, Taken], setting: Setting) -> None:
        curve = {side: [[x, median(run["cpu"] for run in taken[side])] for x, taken in runs.items()] for side in SIDES}
        linear = f"{max(runs):,}, the most that was measured: a constant, and the same again for each"
        self.print(name, "cpu s", runs[max(runs)], setting, curve={"over": over, **curve}, linear_until=linear)


def run_process(folder: Path, side: str, setting: Setting, number: int) -> Run:
    target = folder / f"{side}-{number}"
    target.mkdir()
    command = [sys.executable, __file__, "--side", side, str(target), json.dumps(asdict(setting))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: Run = json.loads(done.stdout.splitlines()[-1])
    return found


def require_same(ours: dict[str, float], peer: dict[str, float]) -> None:
    """Both sides found the same for the same survivor; TFMA's Keras metrics sum in float32."""
    different = [name for name in peer if not math.isclose(ours.get(name, math.nan), peer[name], rel_tol=2e-5)]
    if different or len(ours) != len(peer) or len(ours) < len(METRICS):
        raise SystemExit(f"the two sides measured different metrics: {ours} and {peer}")


def make_world(folder: Path, setting: Setting) -> None:
    import small_table

    model = small_table.network(1, "sigmoid")
    values = model.get_weights()
    weights = [[w * (1 + n / 50) if w.dtype.kind == "f" else w for w in values] for n in range(setting.survivors)]
    small_table.write_survivors(folder / "set", model, weights)
    small_table.write_examples(folder / "examples", small_table.rows(setting.rows))
    small_table.export(model, folder / "trained")
    small_table.write_schema(folder / "schema")


def run_side(side: str, target: Path, setting: Setting) -> Run:
    """Evaluates the survivors beside `target` one way or the other."""
    import tensorflow_model_analysis as tfma
    from small_table import existing_world, run_evaluator

    from checkpoint_gate.artifact_files.checkpoint_set import read_set
    from checkpoint_gate.rules.selection import Selector

    world = target.parent
    config = eval_config(setting)
    inputs = existing_world(world)
    survivors = read_set(world / "set")
    began, worked = time.perf_counter(), time.process_time()
    if side == "ours":
        run_evaluator(target, inputs, config, Selector("binary_crossentropy", "min"))
    else:
        evaluate_with_tfma(target, world, config, survivors[-setting.measured_by_peer :])
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    alone = side == "peer" and setting.measured_by_peer == 1
    name = "" if alone else survivors[-1].name
    result = tfma.load_eval_result(str(target / "evaluation"), model_name=name)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "cpu": round(processor, 2),
        "wall": round(seconds, 2),
        "peak": round(peak),
        "metrics": {
            f"{where} {metric}": value.get("boundedValue", {}).get("value", value.get("doubleValue"))
            for where, by_output in result.slicing_metrics
            for metric, value in by_output[""][""].items()
        },
    }


def eval_config(setting: Setting) -> Any:
    import tensorflow_model_analysis as tfma

    config = tfma.EvalConfig()
    spec = config.model_specs.add(signature_name="serving_default", label_key="is_ash_xf")
    spec.preprocessing_function_names.append("transform_features")
    config.slicing_specs.add()
    if setting.slices:
        config.slicing_specs.add(feature_keys=["colour"])
    metrics = config.metrics_specs.add()
    for name in METRICS:
        metrics.metrics.add(class_name=name)
    config.options.compute_confidence_intervals.value = setting.intervals
    return config


def evaluate_with_tfma(target: Path, world: Path, config: Any, survivors: Any) -> None:
    """What one would write without this project: a SavedModel and a named model spec for each checkpoint."""
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tfx.dsl.io import fileio
    from tfx_bsl.public import tfxio

    from checkpoint_gate.models.exporting import export_steps

    folders = {survivor.name: str(target / "models" / survivor.name) for survivor in survivors}
    for _ in export_steps(str(world / "trained" / "Format-Serving"), [(s.prefix, folders[s.name]) for s in survivors]):
        pass
    spec = config.model_specs[0]
    del config.model_specs[:]
    for name in folders:
        config.model_specs.add().CopyFrom(spec)
        config.model_specs[-1].name = name if len(folders) > 1 else ""
    models = [
        tfma.default_eval_shared_model(eval_saved_model_path=path, model_name=spec.name, eval_config=config)
        for spec, path in zip(config.model_specs, folders.values(), strict=True)
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
                eval_shared_model=models if len(models) > 1 else models[0],
                eval_config=config,
                output_path=str(target / "evaluation"),
            )
        )


def schema_of(world: Path) -> Any:
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse((world / "schema" / "schema.pbtxt").read_text(), schema_pb2.Schema())


if __name__ == "__main__":
    main()
