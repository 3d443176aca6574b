"""The main job on the Palmer penguins: real TFX, real TFMA, one root, run after run as a user would."""

from __future__ import annotations

import ast
import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from tfx.orchestration.metadata import sqlite_metadata_connection_config

from checkpoint_gate.artifact_files.checkpoint_set import read_set
from checkpoint_gate.evaluator.verdict import read_verdict
from checkpoint_gate.models.label_classes import read_classes
from checkpoint_gate.pushed.papers import read_papers
from checkpoint_gate.rule_text.rule_set import rules_from_mapping
from checkpoint_gate.rules.records import read_history
from checkpoint_gate.store import Store
from checkpoint_gate.store.trash import tombstones, trashed
from checkpoint_gate.store.undeleting import undelete
from gated_pipelines.reporting.lineage import last_run
from gated_pipelines.running.local import run_local
from gated_pipelines.running.places import Places
from gated_pipelines.tabular.serving import OUTPUTS

DATA = Path(__file__).parents[1] / "data" / "penguins"
ALL = {
    "CsvExampleGen", "StatisticsGen", "SchemaGen", "ExampleValidator", "Transform", "Trainer",
    "CheckpointFilter", "CheckpointEvaluator", "Champion", "Evaluator", "Pusher",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's copy of the example: the folder with pipeline.yaml and CSV, and a root beside it."""
    folder = tmp_path_factory.mktemp("penguins")
    shutil.copytree(DATA, folder / "project")
    return folder


@pytest.fixture(scope="module")
def runs(home):
    """Summaries by name, of runs done one after the other in one root; each scenario is one run."""
    file, root = home / "project" / "pipeline.yaml", home / "root"
    original = file.read_text()
    done = {"first": run_local(file, root)}
    shutil.copytree(root / "store", home / "store after first")
    shutil.copytree(done["first"].pushed, home / "model")
    done["second"] = run_local(file, root)
    done["third"] = run_local(file, root)
    file.write_text(original.replace("n: 5}", "n: 8}"))
    done["filter changed"] = run_local(file, root)
    file.write_text(original.replace("n: 5}", "n: 3}").replace("grace: 0s", "grace: 1h"))
    done["filter narrowed"] = run_local(file, root)
    undelete_all(root / "store")
    file.write_text(original)
    done["undeleted"] = run_local(file, root)
    done["retrain"] = run_local(file, root, retrain=True)
    done["after retrain"] = run_local(file, root)
    file.write_text(original.replace("{metric: loss, at_most: 0.40}", "{metric: loss, at_most: 0.39}"))
    done["gate changed"] = run_local(file, root)
    file.write_text(slow_learner(original))
    done["model worse"] = run_local(file, root)
    file.write_text(slow_learner(original).replace("on_not_blessed: keep_champion", "on_not_blessed: fail"))
    done["model worse, red"] = run_local(file, root)
    table = home / "project" / "penguins.csv"
    whole = table.read_text()
    table.write_text("\n".join(whole.splitlines()[:-20]))
    file.write_text(original)
    done["data changed"] = run_local(file, root)
    table.write_text(whole)
    done["data back"] = run_local(file, root)
    for version in (root / "serving").iterdir():
        if version.is_dir():
            shutil.rmtree(version)
    file.write_text(original.replace("first_run: bless_on_value_thresholds", "first_run: refuse"))
    done["no champion, refused"] = run_local(file, root)
    file.write_text(original)
    done["champion deleted"] = run_local(file, root)
    champion = Path(done["champion deleted"].champion)
    for file_of_it in ("variables/variables.index", "assets.extra/checkpoint_gate.json"):
        (champion / file_of_it).write_bytes(b"damaged")
    done["champion damaged"] = run_local(file, root)
    done["rebaselined"] = run_local(file, root, rebaseline=True)
    done["after rebaselining"] = run_local(file, root)
    shutil.rmtree(root / "store")
    file.write_text(original.replace("n: 5}", "n: 4}"))
    done["store gone"] = run_local(file, root)
    return done


def undelete_all(folder: Path) -> None:
    """Brings back what lies in the trash of every run."""
    store = Store.open(folder)
    for run in map(store.run, store.keys()):
        with run.lease("undeleting") as lease:
            for stored in trashed(run):
                undelete(run, stored.step, lease)


def slow_learner(text: str) -> str:
    """The example with a model that is far from done after its epochs, and rules that let it through."""
    for old, new in [
        ("learning_rate: 0.003", "learning_rate: 0.0005"),
        ("at_most: 0.40", "at_most: 2.0"),
        ("from: 0.80, to: 0.05", "from: 2.0, to: 2.0"),
        ("at_most: 0.45", "at_most: 2.0"),
        ("at_most: 0.10", "at_most: 2.0"),
        ("at_most: 0.12", "at_most: 2.0"),
        ("at_least: 0.85", "at_least: 0.1"),
    ]:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def first(runs):
    return runs["first"]


@pytest.fixture(scope="module")
def model(runs, home):
    """The model that the first run pushed."""
    return home / "model"


@pytest.fixture(scope="module")
def raw_eval(runs, home):
    """The raw serialized examples of the eval split, and their labels."""
    return read_split(home / "root", "eval")


def read_split(root: Path, split: str) -> tuple[list[bytes], list[str]]:
    folders = (root / "artifacts" / "CsvExampleGen" / "examples").glob(f"*/Split-{split}")
    folder = min(folders, key=lambda path: int(path.parent.name))  # the first run's
    files = [str(path) for path in folder.iterdir()]
    raw = list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())
    labels = [tf.train.Example.FromString(r).features.feature["species"].bytes_list.value[0].decode() for r in raw]
    return raw, labels


def probabilities(model: Path, examples: list[bytes]) -> np.ndarray:
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    return signature(tf.constant(examples))[OUTPUTS["multiclass"]].numpy()


def weights(prefix: str) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")
    }


def test_the_first_run_pushes_and_says_so(first):
    assert (first.outcome, first.green, first.blessed) == ("pushed", True, True)
    assert first.pushed == first.champion
    assert set(first.executed) == ALL
    assert first.epochs == 40 == first.saved + first.refused
    assert first.saved > len(first.survivors) == 5
    assert sum(first.refusals.values()) >= first.refused
    assert first.pruned_bytes > 0
    assert all(first.seconds[name] > 0 for name in ("Trainer", "CheckpointEvaluator"))
    assert json.loads(first.to_json())["winner"]["step"] == first.winner["step"]


def test_the_pushed_model_gives_class_probabilities_for_raw_examples(model, raw_eval):
    predicted = probabilities(model, raw_eval[0])
    assert predicted.shape == (len(raw_eval[0]), 3)
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-5)


def test_a_request_may_leave_out_label_and_features(model):
    assert probabilities(model, [tf.train.Example().SerializeToString()]).shape == (1, 3)


def test_the_example_of_the_readme_asks_the_newest_pushed_model(model, tmp_path, monkeypatch, capsys):
    readme = (DATA.parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE) if "saved_model" in b]
    monkeypatch.chdir(tmp_path)
    serving = tmp_path / "runs" / "penguins" / "serving"
    serving.mkdir(parents=True)
    (serving / "9").mkdir()  # older by its number, though not by its text
    (serving / "10").symlink_to(model)
    exec(block, {})
    answered = ast.literal_eval(capsys.readouterr().out)
    assert list(answered) == ["Adelie", "Chinstrap", "Gentoo"]
    assert max(answered, key=answered.get) == "Gentoo"
    assert sum(answered.values()) == pytest.approx(1.0, rel=1e-5)


def test_the_winner_is_the_one_that_the_tfma_metrics_say(first):
    best = min(first.survivors, key=lambda s: (s["metrics"]["sparse_categorical_crossentropy"], -s["step"]))
    assert (first.winner["run"], first.winner["step"]) == (best["run"], best["step"])
    assert "lowest sparse_categorical_crossentropy of 5" in first.winner["reason"]


def test_tfma_metrics_of_the_winner_are_what_numpy_computes_from_its_predictions(first, model, raw_eval):
    examples, labels = raw_eval
    predicted = probabilities(model, examples)
    truth = np.array([["Adelie", "Chinstrap", "Gentoo"].index(label) for label in labels])
    picked = predicted[np.arange(len(truth)), truth].astype("float64")
    metrics = next(s["metrics"] for s in first.survivors if s["step"] == first.winner["step"])
    assert metrics["example_count"] == len(truth)
    assert metrics["sparse_categorical_crossentropy"] == pytest.approx(-np.log(picked).mean(), rel=1e-5)
    assert metrics["sparse_categorical_accuracy"] == pytest.approx((predicted.argmax(axis=1) == truth).mean(), rel=1e-6)


def test_pushed_weights_are_the_winning_checkpoint_s_bit_for_bit(first, model, home):
    run = Store(home / "store after first").run(first.winner["run"])
    stored = next(s for s in run.live() if s.manifest.step == first.winner["step"])
    checkpoint, pushed = weights(run.prefix(stored)), weights(f"{model}/variables/variables")
    in_model = sorted(value.tobytes() for name, value in pushed.items() if name.startswith("model/"))
    in_checkpoint = sorted(value.tobytes() for value in checkpoint.values())
    assert in_model
    missing = [value for value in in_model if value not in in_checkpoint]
    assert missing == []


def test_the_pushed_model_carries_the_classes_of_the_label(model):
    assert read_classes(str(model)) == ("Adelie", "Chinstrap", "Gentoo")


def test_the_pushed_model_carries_its_papers(first, model):
    papers = read_papers(model)
    assert (papers.run, papers.step) == (first.winner["run"], first.winner["step"])
    assert papers.metrics["example_count"] > 0


def test_every_saved_checkpoint_restores_with_plain_tensorflow_to_the_state_of_its_step(first, home):
    run = Store(home / "store after first").run(first.run)
    for stored in run.live():
        values = weights(run.prefix(stored))
        iterations = [int(v) for name, v in values.items() if name.startswith("optimizer/_iterations")]
        assert iterations == [stored.manifest.step]


def test_the_ledger_has_every_epoch_and_replays_to_the_same_decisions(first, home):
    run = Store(home / "store after first").run(first.run)
    history = run.ledger.read()
    assert [entry.record.epoch for entry in history.entries] == list(range(40))
    gate = rules_from_mapping(run.about()["gate"]).save
    replayed = gate.replay(history.records)
    assert [(d.save, d.reason) for d in replayed] == [(e.decision.save, e.decision.reason) for e in history.entries]
    assert len(read_history(run.ledger.text(), "ledger")) == 40


def test_rejected_checkpoints_are_gone_and_remembered(first, home):
    run = Store(home / "store after first").run(first.run)
    live = {stored.manifest.step for stored in run.live()}
    assert {s["step"] for s in first.survivors} <= live
    marks = tombstones(run).values()
    assert marks
    assert all(mark["event"] == "pruned" and mark["reason"] and mark["step"] not in live for mark in marks)


def test_metadata_leads_from_the_pushed_model_back_to_the_examples(runs, home):
    store = metadata_store.MetadataStore(sqlite_metadata_connection_config(str(Places(home / "root").metadata)))
    artifacts = [a for a in store.get_artifacts_by_type("PushedModel") if a.custom_properties["pushed"].int_value]
    producers, open_ids = set(), {artifacts[0].id}
    while open_ids:
        events = store.get_events_by_artifact_ids(list(open_ids))
        executions = {e.execution_id for e in events if e.type == e.OUTPUT}
        producers |= {store.get_executions_by_id([i])[0].type_id for i in executions}
        inputs = store.get_events_by_execution_ids(list(executions))
        open_ids = {e.artifact_id for e in inputs if e.type == e.INPUT}
    names = {store.get_execution_types_by_id([i])[0].name.rpartition(".")[2] for i in producers}
    assert {"Pusher", "CheckpointEvaluator", "CheckpointFilter", "Trainer", "Transform", "CsvExampleGen"} <= names


def test_the_second_run_pushes_nothing_and_says_already_champion(runs):
    second = runs["second"]
    assert (second.outcome, second.reason, second.pushed) == ("skipped", "already champion", None)
    assert set(second.executed) == {"Champion", "Evaluator", "Pusher"}


def test_the_third_run_executes_nothing_at_all(runs):
    third = runs["third"]
    assert (third.outcome, third.executed, third.green) == ("skipped", [], True)
    assert third.winner == runs["first"].winner


def test_changed_filter_runs_from_the_filter_on_and_names_what_was_pruned_before(runs):
    changed = runs["filter changed"]
    assert set(changed.executed) >= {"CheckpointFilter", "CheckpointEvaluator"}
    assert not set(changed.executed) & {"CsvExampleGen", "Transform", "Trainer"}
    assert len(changed.pruned_earlier) == 3
    assert {mark["step"] for mark in changed.pruned_earlier}.isdisjoint({s["step"] for s in changed.survivors})


def test_what_a_stricter_filter_pruned_is_a_survivor_again_once_it_is_undeleted_and_the_rules_let_it(runs):
    narrowed, again = runs["filter narrowed"], runs["undeleted"]
    assert len(narrowed.survivors) == 3
    assert narrowed.trashed_bytes > 0
    assert again.trashed_bytes == 0
    assert again.survivors == runs["first"].survivors
    assert not {"Transform", "Trainer"} & set(again.executed)


def test_retrain_trains_anew_beside_the_old_run_and_settles_again(runs):
    again = runs["retrain"]
    assert "Trainer" in again.executed
    assert "Transform" not in again.executed
    assert again.run == f"{runs['first'].run}-r1"
    # Training is a function of data and seed, so the same weights win again.
    assert (again.outcome, again.reason) == ("skipped", "already champion")
    assert "Trainer" not in runs["after retrain"].executed
    assert runs["after retrain"].run == again.run


def test_a_changed_gate_trains_anew_in_a_run_of_its_own(runs):
    changed = runs["gate changed"]
    assert "Trainer" in changed.executed
    assert changed.run not in (runs["first"].run, runs["retrain"].run)


def test_a_challenger_that_is_worse_than_the_champion_is_not_blessed(runs):
    worse = runs["model worse"]
    assert (worse.outcome, worse.blessed, worse.pushed, worse.green) == ("not_blessed", False, None, True)
    assert "against the champion's" in worse.reason
    assert "sparse_categorical_crossentropy" in worse.reason
    assert worse.champion == runs["first"].champion


def test_the_report_and_the_summary_show_both_side_by_side(runs):
    worse = runs["model worse"]
    row, *others = worse.comparison
    assert (row["metric"], row["slice"]) == ("sparse_categorical_crossentropy", "all examples")
    assert (row["required"], row["holds"]) == ("a change of at most +0", False)
    assert row["candidate"] > row["champion"] > 0
    assert f"{row['candidate']:.6g} against the champion's {row['champion']:.6g}" in worse.reason
    assert [(other["metric"], other["holds"]) for other in others] == [("sparse_categorical_accuracy", True)]
    assert json.loads(worse.to_json())["comparison"][0] == row


def test_a_run_whose_winner_is_not_blessed_may_end_red(runs):
    red = runs["model worse, red"]
    assert (red.outcome, red.green, red.executed) == ("not_blessed", False, [])
    assert red.reason == runs["model worse"].reason


def test_changed_data_trains_anew_and_the_champion_is_the_baseline(runs):
    changed = runs["data changed"]
    assert set(changed.executed) >= ALL - {"Champion"}
    assert changed.outcome in ("pushed", "not_blessed")
    assert "against the champion's" in changed.reason


def test_data_that_come_back_find_their_training_in_the_cache(runs):
    back = runs["data back"]
    assert not {"CsvExampleGen", "Transform", "Trainer"} & set(back.executed)
    assert back.run == runs["retrain"].run


def test_a_push_folder_emptied_by_hand_is_filled_again(runs):
    filled = runs["champion deleted"]
    assert filled.outcome == "pushed"
    assert not {"Transform", "Trainer", "CheckpointFilter"} & set(filled.executed)


def test_without_a_champion_nothing_is_blessed_where_the_file_says_refuse(runs):
    refused = runs["no champion, refused"]
    assert (refused.outcome, refused.pushed, refused.champion) == ("not_blessed", None, None)
    assert "there is no champion" in refused.reason
    assert "first_run: bless_on_value_thresholds" in refused.reason


def test_a_damaged_champion_is_told_and_stays_until_it_is_set_aside(runs):
    damaged, rebaselined = runs["champion damaged"], runs["rebaselined"]
    assert (damaged.outcome, damaged.pushed, damaged.rebaselined) == ("not_blessed", None, None)
    assert f"cannot be compared with the champion {damaged.champion}: its weights cannot be read" in damaged.reason
    assert "--rebaseline" in damaged.reason
    assert (rebaselined.outcome, rebaselined.rebaselined) == ("pushed", damaged.champion)
    assert f"the champion {damaged.champion} was set aside and not compared with" in rebaselined.reason
    assert (runs["after rebaselining"].outcome, runs["after rebaselining"].champion) == ("skipped", rebaselined.pushed)


def test_a_cached_trainer_without_its_store_is_one_sentence_that_names_retrain(runs):
    gone = runs["store gone"]
    assert (gone.outcome, gone.green) == ("failed", False)
    assert "is not in the store" in gone.reason
    assert "--retrain" in gone.reason


def test_trainer_crashed_in_an_epoch_is_resumed_and_gives_the_weights_of_an_undisturbed_run(
    home, tmp_path, monkeypatch
):
    from checkpoint_gate.training.gated_training import GatedTraining

    file, root = tmp_path / "project" / "pipeline.yaml", tmp_path / "root"
    shutil.copytree(DATA, tmp_path / "project")
    commit = GatedTraining.commit

    def crash(self, record, decision, state, **how):
        if record.epoch == 7:
            raise KeyboardInterrupt("the machine went away")
        commit(self, record, decision, state, **how)

    monkeypatch.setattr(GatedTraining, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        run_local(file, root)
    monkeypatch.setattr(GatedTraining, "commit", commit)
    resumed = run_local(file, root)
    assert resumed.outcome == "pushed"
    run = Store(root / "store").run(resumed.run)
    starts = [event["step"] for event in run.ledger.read().events if event["event"] == "started"]
    assert starts == [0, 49]
    undisturbed = run_local(file, root, retrain=True)
    assert undisturbed.run == f"{resumed.run}-r1"
    assert (undisturbed.outcome, undisturbed.reason) == ("skipped", "already champion")
    other = Store(root / "store").run(undisturbed.run)
    assert [e.record.metrics for e in run.ledger.read().entries] == [
        e.record.metrics for e in other.ledger.read().entries
    ]
    last, same = (weights(r.prefix(r.resume_state())) for r in (run, other))
    assert last.keys() == same.keys()
    assert all(last[name].tobytes() == same[name].tobytes() for name in last)


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        pytest.param(
            ("{metric: loss, at_most: 0.40}", "{metric: loss, at_most: 0.0}"),
            "no_survivors",
            ["The gate refused all 4 epochs", "Closest: epoch 4: loss", "Loosen `save`"],
            id="a gate that refuses everything",
        ),
        pytest.param(
            ("{metric: val_loss, at_most: 0.10}", "{metric: val_loss, at_most: 0.0001}"),
            "no_survivors",
            ["The filter rejected all", "val_loss", "is not at most 0.0001", "Loosen `filter`"],
            id="a filter that rejects everything",
        ),
        pytest.param(
            ("{metric: loss, at_most: 0.40}", "{metric: los, at_most: 0.40}"),
            "failed",
            ["'los'", "is not what training logs", "loss, accuracy, val_loss, val_accuracy"],
            id="a rule that names a metric which is never logged",
        ),
        pytest.param(
            ("metric: val_loss, moving_average: 3, at_most: 0.12", "metric: f1, at_most: 0.12"),
            "failed",
            ["'f1'", "is not what training logs"],
            id="a filter rule that names a metric which is never logged",
        ),
    ],
)
def test_training_that_comes_to_nothing_is_one_sentence(change, outcome, words, home, short_root):
    summary = short_root(change)
    assert (summary.outcome, summary.green, summary.pushed) == (outcome, False, None)
    assert "\n" not in summary.reason
    for word in words:
        assert word in summary.reason
    assert not any(Path(summary.store, "..", "serving").glob("[0-9]*"))


def test_without_survivors_the_champion_may_stay_and_the_run_is_green(short_root):
    summary = short_root(
        ("{metric: val_loss, at_most: 0.10}", "{metric: val_loss, at_most: 0.0001}"),
        ("on_no_survivors: fail ", "on_no_survivors: keep_champion "),
    )
    assert (summary.outcome, summary.green, summary.pushed) == ("no_survivors", True, None)
    assert "The filter rejected all" in summary.reason
    run = Store(Path(summary.store)).run(summary.run)
    assert run.live(), "nothing is pruned when nothing survives"
    steps = last_run(Places(Path(summary.store).parent).metadata)
    assert read_set(Path(steps["CheckpointFilter"].outputs["survivors"])) == []
    verdict = read_verdict(steps["Evaluator"].outputs["blessing"])
    assert verdict.outcome == "no_candidate"


LOOSE = [
    ("{metric: loss, at_most: 0.40}", "{metric: loss, at_most: 5.0}"),
    ("from: 0.80, to: 0.05", "from: 5.0, to: 5.0"),
    ("at_most: 0.45", "at_most: 5.0"),
    ("{metric: val_loss, improves: min, min_delta: 0.001}", "{every: 1}"),
    ("at_most: 0.10", "at_most: 5.0"),
    ("at_most: 0.12", "at_most: 5.0"),
]


def select(rules: str) -> tuple[str, str]:
    """The change that adds rules to how the best is chosen."""
    plain = "select: {metric: sparse_categorical_crossentropy, mode: min}"
    return plain, plain.replace("}", f", {rules}}}")


def test_survivors_of_which_none_keeps_a_required_bound_leave_the_champion(short_root):
    require = select("require: [{metric: sparse_categorical_accuracy, at_least: 1.5, slices: [island]}]")
    summary = short_root(*LOOSE, require)
    assert (summary.outcome, summary.green, summary.pushed, summary.winner) == ("no_candidate", False, None, None)
    assert "No survivor can be chosen by sparse_categorical_crossentropy: step-" in summary.reason
    assert "required is at least 1.5, missed by" in summary.reason
    assert "\n" not in summary.reason
    keep = ("on_no_candidate: fail ", "on_no_candidate: keep_champion ")
    summary = short_root(*LOOSE, require, keep)
    assert (summary.outcome, summary.green, summary.pushed, summary.winner) == ("no_candidate", True, None, None)
    assert "required is at least 1.5, missed by" in summary.reason
    assert not {"Transform", "Trainer"} & set(summary.executed)
    assert len(summary.survivors) == len(summary.selection["excluded"]) > 0
    assert summary.selection["ranking"] == []
    assert "No survivor could be chosen" in Path(summary.report).read_text()
    steps = last_run(Places(Path(summary.store).parent).metadata)
    assert read_verdict(steps["Evaluator"].outputs["blessing"]).outcome == "no_candidate"
    again = short_root(*LOOSE, require, keep)
    assert (again.outcome, again.reason, again.executed) == ("no_candidate", summary.reason, [])


def test_the_best_is_chosen_by_its_worst_slice_and_within_noise(short_root):
    summary = short_root(*LOOSE, select("worst_slice: true, within_noise: true"))
    assert summary.outcome in ("pushed", "not_blessed")
    scores = {s["name"]: s["score"] for s in summary.survivors}
    assert len(scores) > 1
    assert all(s["slice"].startswith("island:") for s in scores.values())
    assert all(s["interval"][0] < s["value"] < s["interval"][1] for s in scores.values())
    best = min(scores, key=lambda name: scores[name]["value"])
    assert summary.selection["ranking"][0] == best
    near = [s for s in summary.survivors if s["score"]["interval"][0] <= scores[best]["interval"][1]]
    assert summary.winner["step"] == min(s["step"] for s in near)
    assert "on the worst slice" in summary.winner["reason"]
    assert "on island:" in Path(summary.report).read_text()


def test_the_average_of_the_survivors_competes_where_the_file_asks_for_it(short_root):
    summary = short_root(
        ("at_most: {from: 0.80, to: 0.05, epochs: 20, shape: linear}", "at_most: 2.0"),
        ("{metric: loss, at_most: 0.40}", "{metric: loss, at_most: 2.0}"),
        ("moving_average: 3, at_most: 0.45", "moving_average: 2, at_most: 2.0"),
        ("{metric: val_loss, at_most: 0.10}", "{metric: val_loss, at_most: 2.0}"),
        ("moving_average: 3, at_most: 0.12", "moving_average: 2, at_most: 2.0"),
        ("crossentropy, mode: min}   #", "crossentropy, mode: min, average: true}   #"),
    )
    assert summary.outcome == "pushed"
    assert len(summary.survivors) >= 2
    assert all(survivor["name"] != "average" for survivor in summary.survivors)
    loss = "sparse_categorical_crossentropy"
    best = min(survivor["metrics"][loss] for survivor in summary.survivors)
    assert summary.average["won"] == (summary.average["metrics"][loss] < best)
    assert bool(summary.winner["averaged"]) == summary.average["won"]


@pytest.fixture(scope="module")
def short_root(tmp_path_factory):
    """Runs the example with 4 quick epochs and changed words, all in one root, so that only training is new."""
    root = tmp_path_factory.mktemp("short")
    shutil.copytree(DATA, root / "project")
    file = root / "project" / "pipeline.yaml"
    original = file.read_text()

    def run(*changes):
        text = original.replace("epochs: 40", "epochs: 4").replace("learning_rate: 0.003", "learning_rate: 0.03")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        return run_local(file, root / "root")

    return run


def test_metrics_of_a_training_are_finite(first, home):
    run = Store(home / "store after first").run(first.run)
    assert all(math.isfinite(v) for record in run.ledger.read().records for v in record.metrics.values())
