"""Which steps Orbax keeps. Runs in .venv-peers, since Orbax does not fit beside TFX.

Reads one scenario a line from standard input, and answers each with a line, the steps that are on the disk at the end:

    {"keep": {"best": {"mode": "min", "n": 2}, "last": 1, "milestone": 5}, "interval": 3, "by": "options",
     "values": [[1, 0.5], [2, null]], "reopened": 1}

`keep` is as in this project's rules, with a milestone counted in steps. `interval`: only every so many steps are saved,
or null. `by`: whether Orbax is told by the options of its manager or by policies. `values`: steps with their metric,
null where none is given. `reopened`: how many steps there were when the manager was closed and made anew, or null.
"""

import json
import os
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies


def metric(metrics):
    return metrics["value"]


def as_options(scenario):
    keep, best = scenario["keep"], scenario["keep"].get("best")
    told = {} if scenario["interval"] is None else {"save_interval_steps": scenario["interval"]}
    if best is not None:
        told |= {"best_fn": metric, "best_mode": best["mode"]}
    if "milestone" in keep:
        told["keep_period"] = keep["milestone"]
    return told | {"max_to_keep": keep.get("last") if best is None else best["n"]}


def as_policies(scenario):
    keep, best = scenario["keep"], scenario["keep"].get("best")
    parts = [policies.LatestN(keep["last"])] if "last" in keep else []
    if best is not None:
        parts.append(policies.BestN(get_metric_fn=metric, reverse=best["mode"] == "min", n=best["n"]))
    if "milestone" in keep:
        parts.append(policies.EveryNSteps(keep["milestone"]))
    told = {"preservation_policy": policies.AnyPreservationPolicy(parts)}
    if best is not None:
        told |= {"best_fn": metric, "best_mode": best["mode"]}  # else metrics are not written, and lost when reopened
    if scenario["interval"] is not None:
        told["save_decision_policy"] = policies.FixedIntervalPolicy(scenario["interval"])
    return told


def kept(scenario):
    told = as_options(scenario) if scenario["by"] == "options" else as_policies(scenario)
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, save_root_metadata=False, **told)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:

        def manager():
            return ocp.CheckpointManager(folder, options=options, item_handlers=ocp.ArrayCheckpointHandler())

        saving = manager()
        for place, (step, value) in enumerate(scenario["values"]):
            if place == scenario["reopened"]:
                saving.close()
                saving = manager()
            given = None if value is None else {"value": value}
            saving.save(step, args=ocp.args.ArraySave(np.zeros(1)), metrics=given)
        saving.reload()  # from the disk
        steps = sorted(saving.all_steps())
        saving.close()
    return steps


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(kept(json.loads(line))), flush=True)
