"""The command `checkpoint-gate` on real stores: what it prints and where, its exit codes, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from faults.papers import origin_of, papers_of, pushed_papers, write_version

from checkpoint_gate.cli import cli, words
from checkpoint_gate.pushed.papers import Rollback, write_papers
from checkpoint_gate.reviewing.catalog import rows
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record, dump_json
from checkpoint_gate.store import Store
from checkpoint_gate.store.champion import ChampionNote, note_champion
from checkpoint_gate.store.elapsed import SystemClock
from checkpoint_gate.store.prune_plan import make_plan
from checkpoint_gate.store.pruning import execute_prune
from checkpoint_gate.training.gated_training import GatedTraining

GATE = "save: {metric: val_loss, at_most: 0.5}"
STRICT = "filter: {metric: val_loss, at_most: 0.35}\nprune: {grace: 24h, max_fraction: 0.9}\n"


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Home:
    """A store, and the command run on it; an epoch is 10 steps, a checkpoint two small files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock(time.time() - 5000.0)  # the command has a clock of its own
        self.store = Store(root / "store", self.clock)

    def train(self, val_losses, run="demo", rules=GATE):
        training = GatedTraining(self.store, parse_rules(rules), run)
        training.begin(len(val_losses))
        for epoch, value in enumerate(val_losses):
            record = Record((epoch + 1) * 10, epoch, {"loss": 0.4, "val_loss": value}, time=self.clock())
            training.commit(record, training.observe(record), lambda prefix, step=record.step: write(prefix, step))
        training.finish(len(val_losses))
        return training.run

    def file(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text)
        return path

    def call(self, *args: object):
        return CliRunner().invoke(cli, [str(arg) for arg in args])

    def json(self, *args: object, code: int = 0):
        result = self.call(*args, "--json")
        assert result.exit_code == code, result.stderr
        return json.loads(result.stdout)

    def error(self, *args: object) -> str:
        """The one sentence that the command fails with."""
        result = self.call(*args)
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.endswith(".\n")
        return result.stderr.removeprefix("Error: ").rstrip("\n")


def write(prefix: str, step: int) -> None:
    Path(prefix + ".index").write_bytes(b"index %d" % step)
    Path(prefix + ".data-00000-of-00001").write_bytes(b"%d" % step * 50)


def size(step: int) -> int:
    return len(b"index %d" % step) + 50 * len(str(step))


def folder(run, step: int, where="checkpoints") -> Path:
    return run.files.root / run.key / where / f"step-{step:09d}"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `root` with its time and bytes, and every folder with its time."""
    paths = sorted(root.rglob("*"))
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in [root, *paths]}


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def store(home):
    return home.root / "store"


# The command as a whole.


def test_help_names_every_subcommand(home):
    result = home.call("--help")
    assert result.exit_code == 0
    for name in ("list", "why", "report", "replay", "check", "prune", "undelete", "pin", "unpin"):
        assert re.search(rf"^  {name} ", result.stdout, re.MULTILINE)
        assert home.call(name, "--help").exit_code == 0


@pytest.mark.parametrize(
    ("args", "imports"),
    [
        pytest.param(["--help"], "only click", id="help imports click and nothing else of weight"),
        pytest.param(["list", "STORE", "--json"], "no framework", id="list"),
        pytest.param(["list", "STORE"], "no framework", id="list for people"),
        pytest.param(["why", "STORE"], "no framework", id="why"),
        pytest.param(["why", "--model", "MODEL"], "no framework", id="why of a model"),
        pytest.param(["check", "STORE"], "no framework", id="check"),
        pytest.param(["prune", "STORE", "--rules", "RULES"], "no framework", id="prune"),
        pytest.param(["replay", "--rules", "RULES", "--history", "LEDGER"], "no framework", id="replay"),
    ],
)
def test_no_framework_is_imported(home, store, args, imports):
    home.train([0.4, 0.3])
    rules = home.file("gate.yaml", f"{GATE}\n{STRICT}")
    model = home.root / "model"
    write_papers(model, papers_of())
    places = {"STORE": store, "RULES": rules, "LEDGER": store / "demo" / "ledger.jsonl", "MODEL": model}
    command = [sys.executable, "-X", "importtime", "-m", "checkpoint_gate.cli"]
    command[-2:] = ["-c", "from checkpoint_gate.cli import main; main()"]
    done = subprocess.run([*command, *(str(places.get(a, a)) for a in args)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "click" in imported
    assert not imported & {"tensorflow", "tfx", "keras", "tf_keras", "numpy", "pandas", "apache_beam", "kfp"}
    if imports == "only click":
        assert not imported & {"rich", "pydantic", "ruamel"}


def test_an_error_of_the_package_is_one_sentence_and_others_show_themselves(home, store, monkeypatch):
    assert home.error("list", store) == f"There is no checkpoint store at {store}."
    home.train([0.4])

    def broken(*args):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("checkpoint_gate.reviewing.catalog.rows", broken)
    result = home.call("list", store)
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["list"], "Missing argument 'STORE'", id="no store"),
        pytest.param(["why"], "Give a STORE, or --model DIR.", id="why needs a store or a model"),
        pytest.param(["why", "a", "--store", "b"], "Give the store once", id="two stores"),
        pytest.param(
            ["why", "a", "--step", "1", "--epoch", "1"], "Give either --step or --epoch.", id="step and epoch"
        ),
        pytest.param(["why", "--model", "m", "--step", "1"], "--model names the run and the step", id="model and step"),
        pytest.param(["replay", "--rules", "r", "--history", "h", "--section", "keep"], "'keep' is not", id="section"),
        pytest.param(["pin", "a", "--step", "1"], "Missing option '--note'.", id="pin without a note"),
        pytest.param(["pin", "a", "--step", "1", "--note", " "], "--note must say why", id="pin with an empty note"),
        pytest.param(["undelete", "a"], "Missing option '--step'", id="undelete without a step"),
        pytest.param(["undelete", "a", "--step", "-1"], "-1 is not in the range", id="a step below 0"),
        pytest.param(["prune", "a"], "Missing option '--rules'", id="prune without rules"),
    ],
)
def test_wrong_usage_exits_with_2(home, args, message):
    result = home.call(*args)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["list", "why", "check"])
def test_an_unknown_format_is_told(home, store, command):
    home.train([0.4])
    (store / "store.json").write_text('{"format": 99}')
    assert home.error(command, store) == f"{store}/store.json has the format 99; this version reads format 1."


# list


def test_list_json_is_one_array_over_all_runs(home, store):
    first = home.train([0.9, 0.4])
    home.train([0.4, 0.3], "other", rules=GATE + "\nkeep: {last: 1}")
    first.pin(20, "note")
    listed = home.json("list", store)
    assert [(row["run"], row["step"], row["epoch"], row["state"]) for row in listed] == [
        ("demo", 20, 1, "kept"),
        ("other", 10, 0, "pruned"),
        ("other", 20, 1, "kept"),
    ]
    assert listed[0] == {
        "run": "demo",
        "step": 20,
        "epoch": 1,
        "metrics": {"loss": 0.4, "val_loss": 0.4},
        "state": "kept",
        "pinned": True,
        "bytes": size(20),
        "path": str(folder(first, 20)),
        "reason": "val_loss 0.4 is at most 0.5",
    }
    assert home.json("list", store, "--run", "other") == listed[1:]


def test_list_of_an_empty_store_is_an_empty_array(home, store):
    home.store.create()
    assert home.json("list", store) == []
    assert home.call("list", store).stdout == ""


def test_list_for_people_counts_epochs_from_1(home, store):
    home.train([0.4, float("nan"), 0.3], rules="save: {any: [{every: 1}]}")
    result = home.call("list", store)
    assert result.stdout.splitlines() == [
        "epoch  step  state   size  metrics",
        "    1    10  kept   108 B  loss 0.4, val_loss 0.4",
        "    2    20  kept   108 B  loss 0.4, val_loss nan",
        "    3    30  kept   108 B  loss 0.4, val_loss 0.3",
    ]
    assert result.stderr == (
        "3 kept of 3 checkpoints of the run demo; 324 B on disk, the state to resume from not counted\n"
    )


def test_an_unknown_run_names_those_there_are(home, store):
    home.train([0.4])
    home.train([0.4], "b")
    for args in (["list", store], ["why", store], ["prune", store, "--rules", home.file("r.yaml", STRICT)]):
        assert home.error(*args, "--run", "c") == f"The store {store} has no run 'c'. It has: b, demo."


def test_a_table_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    reason = "val_loss 0.61 is not at most 0.5 (by 0.11) [and more]; " * 4
    words.print_table(("run", "epoch", "why"), [("0123456789abcdef-r1", "7", reason)], right=("epoch",))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 80
    assert "".join(line[28:] for line in lines[1:]).replace(" ", "") == reason.replace(" ", "")


# why


def test_why_tells_of_every_record(home, store):
    run = home.train([0.9, 0.4, 0.3], rules=GATE + "\nkeep: {last: 1}")
    told = home.json("why", store)
    assert [(e["step"], e["epoch"], e["save"], e["state"]) for e in told] == [
        (10, 0, False, None),
        (20, 1, True, "pruned"),
        (30, 2, True, "kept"),
    ]
    assert set(told[0]) == {
        *(
            "run",
            "step",
            "epoch",
            "at",
            "metrics",
            "save",
            "reason",
            "state",
            "pruned",
            "superseded",
            "path",
            "protected",
            "damage",
        )
    }
    assert told[0]["reason"] == "val_loss 0.9 is not at most 0.5 (by 0.4)"
    assert told[0]["pruned"] is None
    assert set(told[1]["pruned"]) == {"by", "rules", "reason", "time", "swept"}
    assert told[2]["path"] == str(folder(run, 30))


def test_one_record_in_words(home, store):
    run = home.train([0.9, 0.4, 0.3], rules=GATE + "\nkeep: {last: 1}")
    assert home.call("why", store, "--epoch", 0).stdout.splitlines() == [
        "epoch 1, step 10 of demo: refused",
        "  why       val_loss 0.9 is not at most 0.5 (by 0.4)",
        "  metrics   loss 0.4, val_loss 0.9",
    ]
    pruned = home.call("why", store, "--step", 20).stdout
    assert pruned.startswith("epoch 2, step 20 of demo: saved, checkpoint pruned\n")
    assert re.search(
        r"\n  pruned    \d{4}-..-.. ..:.. UTC by retention, rules [0-9a-f]{12}: no part of `keep` protects it\n"
        r"            its bytes were freed \d{4}-..-.. ..:.. UTC\n$",
        pruned,
    )
    run.pin(30, "for the talk")
    assert home.call("why", store, "--step", 30).stdout.splitlines() == [
        "epoch 3, step 30 of demo: saved, checkpoint kept",
        "  why       val_loss 0.3 is at most 0.5",
        "  metrics   loss 0.4, val_loss 0.3",
        "  protected pinned: for the talk",
        f"  path      {folder(run, 30)}",
    ]


def test_all_records_in_words_are_a_table(home, store):
    home.train([0.9, 0.4, 0.3, 0.2], rules=GATE + "\nkeep: {last: 2}")
    assert home.call("why", store).stdout.splitlines() == [
        "epoch  step  gate     checkpoint  why",
        "    1    10  refused              val_loss 0.9 is not at most 0.5 (by 0.4)",
        "    2    20  saved    pruned      val_loss 0.4 is at most 0.5; pruned: no part of `keep` protects it",
        "    3    30  saved    kept        val_loss 0.3 is at most 0.5",
        "    4    40  saved    kept        val_loss 0.2 is at most 0.5",
    ]


def test_why_finds_a_step_in_every_run_that_has_it(home, store):
    home.train([0.9, 0.4])
    home.train([0.4], "other")
    assert [(e["run"], e["save"]) for e in home.json("why", store, "--step", 10)] == [("demo", False), ("other", True)]
    assert [e["run"] for e in home.json("why", store, "--step", 10, "--run", "other")] == ["other"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(["--step", 15], "The store STORE has no record of step 15. It has the steps: 10, 20.", id="step"),
        pytest.param(
            ["--epoch", 2], "The store STORE has no record of --epoch 2. It has, counted from 0: 0, 1.", id="epoch"
        ),
        pytest.param(
            ["--run", "demo", "--step", 7], "The run demo has no record of step 7. It has the steps: 10, 20.", id="run"
        ),
    ],
)
def test_an_unknown_record_names_those_there_are(home, store, args, message):
    home.train([0.9, 0.4])
    assert home.error("why", store, *args) == message.replace("STORE", str(store))


def test_many_steps_are_not_all_named(home, store):
    home.train([0.9] * 40)
    assert home.error("why", store, "--step", 1).endswith("10, 20, 30, 40, 50, 60, 70, 80, 90, 100, … 400 (40 in all).")


def test_why_tells_of_a_missing_checkpoint(home, store):
    run = home.train([0.4, 0.3])
    shutil.rmtree(folder(run, 10))
    text = home.call("why", store, "--step", 10).stdout
    assert text.startswith("epoch 1, step 10 of demo: saved, checkpoint missing\n")
    assert "  missing   the store has neither the checkpoint nor a tombstone" in text


def test_a_checkpoint_without_its_manifest_is_told_in_the_same_words_by_all(home, store):
    run = home.train([0.4, 0.3])
    (folder(run, 10) / "manifest.json").unlink()
    words = f"{folder(run, 10)} has no manifest."
    (row,) = (row for row in home.json("list", store) if row["step"] == 10)
    (told,) = home.json("why", store, "--step", 10)
    (fault,) = (f for f in home.json("check", store, code=1)["findings"] if f["severity"] == "fault")
    assert (row["state"], row["reason"]) == (told["state"], told["damage"]) == ("quarantined", words)
    assert fault["what"] == words
    text = home.call("why", store, "--step", 10).stdout
    assert text.startswith("epoch 1, step 10 of demo: saved, checkpoint quarantined\n")
    assert f"  damage    {words}\n" in text


def test_why_tells_what_a_resumed_training_overtook(home, store):
    run = home.train([0.4, 0.3])
    for shelf in ("resume", "checkpoints"):
        shutil.rmtree(folder(run, 20, shelf))
    training = GatedTraining(home.store, parse_rules(GATE), "demo")
    training.begin(2)
    training.abandon()
    text = home.call("why", store, "--step", 20).stdout
    assert re.search(r"  overtaken \d{4}-..-.. ..:.. UTC: training resumed before it, so it does not count\n", text)
    assert home.json("why", store, "--step", 20)[0]["superseded"] > time.time() - 5000.0


def judged_twice(home, epoch=0.4):
    """A run that saved the last step of its epoch, and judged then the epoch."""
    training = GatedTraining(home.store, parse_rules(GATE), "demo")
    training.begin(1)
    for at, value in (("step", 0.45), ("epoch", epoch))[: 1 + (epoch is not None)]:
        record = Record(20, 0, {"loss": 0.4, "val_loss": value}, at, home.clock())
        training.commit(record, training.observe(record), lambda prefix: write(prefix, 20), resumable=at == "epoch")
    training.finish(1)
    return training.run


def test_why_tells_of_the_step_and_of_the_epoch_that_ended_with_it(home, store):
    judged_twice(home)
    told = [(e["at"], e["state"], e["path"] is not None) for e in home.json("why", store, "--step", 20)]
    assert told == [("step", "amended", False), ("epoch", "kept", True)]
    text = home.call("why", store, "--step", 20).stdout
    assert text.startswith("epoch 1, step 20 of demo, within the epoch: saved, checkpoint the epoch's\n")
    assert "\n  amended   the epoch that ended with this step was saved too: the checkpoint tells of that\n" in text
    record = home.json("why", "--model", push(home), "--store", store)["record"]
    assert (record["at"], record["state"]) == ("epoch", "kept")
    assert [row["metrics"]["val_loss"] for row in home.json("list", store)] == [0.4]


def test_why_tells_of_a_state_that_was_overtaken(home, store):
    run = home.train([0.4])
    record = Record(20, 1, {"loss": 0.4, "val_loss": 0.3}, time=home.clock())
    run.ledger.append(record, Decision(True, "val_loss 0.3 is at most 0.5"))
    run.ledger.append_event("overtaken", step=20, at="epoch")
    assert home.json("why", store, "--step", 20)[0]["state"] == "overtaken"
    text = home.call("why", store, "--step", 20).stdout
    assert text.startswith("epoch 2, step 20 of demo: saved, checkpoint never written\n")
    assert text.endswith("\n  unwritten a newer state overtook it, or it was never given to save\n")


def test_a_pushed_model_is_traced_to_the_record_whose_state_was_written(home, store):
    run = judged_twice(home, epoch=None)
    run.ledger.append(Record(20, 0, {"loss": 0.4, "val_loss": 0.4}, time=home.clock()), Decision(True, "as told"))
    run.ledger.append_event("overtaken", step=20, at="epoch")
    record = home.json("why", "--model", push(home), "--store", store)["record"]
    assert (record["at"], record["state"]) == ("step", "kept")


def push(home, step=20) -> Path:
    return write_version(home.root / "serving", 1790000000, "w", pushed_papers(1790000000, "w", step=step))


@pytest.mark.parametrize("given", ["the version", "the push folder"])
def test_a_pushed_model_is_traced_to_its_record(home, store, given):
    home.train([0.9, 0.4])
    model = push(home)
    asked = model if given == "the version" else model.parent
    told = home.json("why", "--model", asked, "--store", store)
    record = told.pop("record")
    papers = pushed_papers(1790000000, "w")
    assert told == papers.model_dump(exclude={"format", "writer"}) | {"model": str(model)}
    assert {"run", "step", "reason", "metrics", "rules_digest"} <= told.keys()
    assert (record["step"], record["save"], record["reason"]) == (20, True, "val_loss 0.4 is at most 0.5")
    assert home.json("why", "--model", asked)["record"] is None
    lines = home.call("why", store, "--model", asked).stdout.splitlines()
    assert lines == [
        f"model {model}",
        "  pushed      2026-09-21 14:13 UTC as version 1790000000, as the first",
        "  blessed     every threshold holds",
        "  checkpoint  step 20 of the run demo",
        "  chosen      lowest loss of 2: 0.31",
        "              step-000000020: loss 0.31",
        "              step-000000030: loss nan; out: loss is nan",
        "  evaluated   loss 0.31 on eval",
        "              island:Dream: loss 0.4",
        "  filtered    by the rules a1a1a1a1a1a1",
        "              val_loss 0.4 is at most 0.45",
        "  gate        epoch 2, step 20: val_loss 0.4 is at most 0.5",
        "              val_loss 0.4; rules b2b2b2b2b2b2",
        "  data        span 0; splits eval, test, train",
        "              fingerprint table:9 bytes",
        f"              table sha256:{'7e' * 32}",
        "  classes     cat, dog",
        "  versions    python 3.10.13, tensorflow 2.16.2",
        "epoch 2, step 20 of demo: saved, checkpoint kept",
        "  why       val_loss 0.4 is at most 0.5",
        "  metrics   loss 0.4, val_loss 0.4",
        f"  path      {home.store.root}/demo/checkpoints/step-000000020",
    ]


def test_a_model_that_was_brought_back_and_one_that_is_an_average_say_so(home):
    papers = pushed_papers(17, "w", origins=[origin_of(10), origin_of(20)])
    back = papers.push.model_copy(
        update={
            "replaces": 16,
            "rollback": Rollback(withdrew=16, restored=15, reason="wrong prices"),
            "blessing": {"reason": "it holds", "candidate_metrics": {"auc": 0.9}, "champion_metrics": {"auc": 0.8}},
        }
    )
    model = write_version(home.root / "serving", 17, "w", papers.model_copy(update={"push": back}))
    lines = home.call("why", "--model", model).stdout.splitlines()
    assert lines[1:7] == [
        "  pushed      1970-01-01 00:00 UTC as version 17, in place of 16",
        "  rolled back it is version 15 again, 16 was withdrawn: wrong prices",
        "  blessed     it holds",
        "              candidate: auc 0.9",
        "              champion: auc 0.8",
        "  checkpoint  the average of the steps 10 of demo, 20 of demo",
    ]
    assert "              step 10 of demo: val_loss 0.4 is at most 0.45" in lines


def test_papers_of_another_version_are_one_sentence(home):
    model = push(home)
    (model / "assets.extra" / "checkpoint_gate.json").write_text('{"format": 1}')
    assert home.error("why", "--model", model).endswith("this version reads format 2, and its next push writes that.")


def test_a_model_without_papers_is_told(home, store):
    home.train([0.4])
    model = home.root / "model"
    assert home.error("why", "--model", model) == f"The model {model} does not exist."
    model.mkdir()
    assert home.error("why", "--model", model).endswith("carries no papers: it was not pushed by this project.")
    papers = push(home, step=70)
    assert home.error("why", "--model", papers, "--store", store) == (
        f"The run demo of the store {store} has no record of step 70."
    )


def test_a_model_behind_a_url_is_explained(home):
    place = "memory://why/serving"
    write_papers(f"{place}/7", papers_of())
    with fsspec.open(f"{place}/7/saved_model.pb", "wb") as file:
        file.write(b"x")
    for asked in (place, f"{place}/7"):
        assert home.json("why", "--model", asked)["model"] == f"{place}/7"
        assert home.call("why", "--model", asked).stdout.startswith(f"model {place}/7\n")
    with fsspec.open("memory://why/other/a", "wb") as file:
        file.write(b"x")
    told = "The model memory://why/other carries no papers: it was not pushed by this project."
    assert home.error("why", "--model", "memory://why/other") == told
    assert home.error("why", "--model", "memory://why/none") == "The model memory://why/none does not exist."


# replay


def line(step, epoch=None, *, at=None, save=None, reason="then", **metrics) -> str:
    value = {"step": step, "epoch": step - 1 if epoch is None else epoch, "metrics": metrics}
    value |= {"at": at} if at else {}
    return dump_json(value | ({"save": save, "reason": reason} if save is not None else {}))


def replayed(home, rules, history, section="save"):
    """The answers as (step, yes or no), and the words."""
    rules, history = home.file("rules.yaml", rules), home.file("history.jsonl", history)
    result = home.call("replay", "--rules", rules, "--history", history, "--section", section, "--json")
    assert result.exit_code == 0, result.stderr
    key = "save" if section == "save" else "keep"
    values = [json.loads(text) for text in result.stdout.splitlines()]
    assert all(set(value) == {"step", "epoch", key, "reason"} for value in values)
    return [(value["step"], value[key]) for value in values], result.stderr


@pytest.mark.parametrize(
    ("rules", "section", "lines", "expected"),
    [
        pytest.param(
            GATE,
            "save",
            [line(1, val_loss=0.5), line(2, val_loss=0.51)],
            [True, False],
            id="lines without a decision are judged, equality passes",
        ),
        pytest.param(
            "save: {metric: val_loss, improves: min}",
            "save",
            [line(1, val_loss=0.5), line(2, val_loss="nan"), line(3, val_loss=0.5), line(4, val_loss=0.4)],
            [True, False, False, True],
            id="the state of a rule is that of its own decisions",
        ),
        pytest.param(
            GATE,
            "save",
            [line(1, loss="nan", val_loss=0.1), line(2, loss=0.1, val_loss=0.1)],
            [False, True],
            id="a loss that is not finite refuses whatever the rules say",
        ),
        pytest.param(
            "save: {metric: loss, moving_average: 2, at_most: 1}",
            "save",
            [line(1, loss=0.5), line(2, 0, at="step", loss=9.0), line(3, 1, loss=0.5), line(4, 1, at="step", loss=9.0)],
            [False, False, True, False],
            id="windows never mix epochs and steps",
        ),
        pytest.param(
            GATE,
            "save",
            [line(1, loss=0.1), line(2, loss=0.1, val_loss=0.2)],
            [False, True],
            id="a record without the metric is refused when others have it",
        ),
        pytest.param(GATE, "save", [line(1), line(2)], [False, False], id="nothing logged at all refuses them all"),
        pytest.param(
            "filter: {metric: val_loss, centred_average: 3, at_most: 0.4}",
            "filter",
            [line(1, val_loss=0.5), line(2, val_loss=0.4), line(3, val_loss=0.3), line(4, val_loss=0.2)],
            [False, True, True, True],
            id="the filter has hindsight",
        ),
        pytest.param(
            "filter: {top: {metric: val_loss, mode: min, n: 2}}",
            "filter",
            [line(1, val_loss=0.3), line(2, val_loss=0.3), line(3, val_loss=0.1), line(4, val_loss="nan")],
            [False, True, True, False],
            id="top ranks the records, the later step first",
        ),
        pytest.param(
            "filter: {top: {metric: loss, mode: min, n: 1}}",
            "filter",
            [line(2, 0, at="step", loss=0.2), line(2, 0, loss=0.1)],
            [False, True],
            id="a step and an epoch that end together are two records",
        ),
        pytest.param(
            STRICT,
            "filter",
            [line(1, 0, val_loss=0.9), line(1, 1, val_loss=0.1)],
            [False, True],
            id="records of one step are judged each for itself",
        ),
        pytest.param(
            GATE,
            "save",
            [
                line(1, val_loss=0.1),
                line(2, val_loss=0.2),
                '{"event": "resumed", "after_step": 1, "time": 5.0}',
                line(2, val_loss=0.9),
            ],
            [True, False],
            id="what a resumed training overtook does not count",
        ),
        pytest.param(GATE, "save", ["", line(1, val_loss=0.1), "  "], [True], id="blank lines are passed over"),
        pytest.param(GATE, "save", [], [], id="an empty history prints nothing"),
    ],
)
@pytest.mark.parametrize("end", ["\n", ""], ids=["ended", "not ended"])
def test_replay(home, rules, section, lines, expected, end):
    answers, _ = replayed(home, rules, "\n".join(lines) + (end if lines else ""), section)
    assert [yes for _, yes in answers] == expected


def test_the_other_section_reads_resumed_events_too(home):
    history = "\n".join(
        [line(1, val_loss=0.1), line(2, val_loss=0.2), '{"event": "resumed", "after_step": 1}', line(2, val_loss=0.9)]
    )
    answers, _ = replayed(home, STRICT, history, "filter")
    assert answers == [(1, True), (2, False)]


def test_replaying_a_ledger_gives_the_decisions_it_records(home, store):
    home.train([0.9, 0.5, 0.4, float("nan"), 0.3])
    rules = home.file("gate.yaml", GATE)
    result = home.call("replay", "--rules", rules, "--history", store / "demo" / "ledger.jsonl")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "epoch  step  save     why",
        "    1    10  refused  val_loss 0.9 is not at most 0.5 (by 0.4)",
        "    2    20  saved    val_loss 0.5 is at most 0.5",
    ]
    assert result.stderr == "5 records: 3 saved, 2 refused\nThe same as recorded, all 5\n"


def test_replay_tells_what_differs_from_what_was_recorded(home):
    history = [line(1, val_loss=0.6, save=False), line(2, val_loss=0.4, save=False), line(3, val_loss=0.6, save=True)]
    _, words = replayed(home, GATE, "\n".join(history))
    assert words.splitlines() == [
        "3 records: 1 saved, 2 refused",
        "2 of 3 differ from what was recorded, the first at epoch 2, step 2: refused then (then), saved now "
        "(val_loss 0.4 is at most 0.5)",
    ]


def test_a_torn_last_line_of_a_ledger_is_passed_over(home):
    answers, words = replayed(home, GATE, line(1, val_loss=0.1, save=True) + '\n{"step": 2, "ep')
    assert answers == [(1, True)]
    assert "history.jsonl was torn by a crash and is passed over." in words


def test_a_separator_within_a_text_ends_no_line(home):
    answers, _ = replayed(home, GATE, line(1, val_loss=0.1, save=True, reason="a\u2028b"))
    assert answers == [(1, True)]


@pytest.mark.parametrize(
    ("rules", "history", "message"),
    [
        pytest.param(None, "", "The rules file RULES cannot be read: ", id="no rules file"),
        pytest.param(GATE, None, "The history HISTORY cannot be read: ", id="no history"),
        pytest.param("save: {metric: a}", "", "RULES line 1: save must have exactly one of at_most", id="wrong rules"),
        pytest.param(STRICT, "", "RULES has no section `save`, so there is nothing to replay.", id="no such section"),
        pytest.param(GATE, line(1, val_loss=1) + "\nno", "HISTORY line 2 is damaged: Expecting value", id="not JSON"),
        pytest.param(GATE, '\n{"step": 1', "HISTORY line 2 is damaged: ", id="half a line of no ledger"),
        pytest.param(GATE, "[1]\n", "HISTORY line 1 is damaged: must be an object. Received: '[1]'.", id="no object"),
        pytest.param(
            GATE,
            line(1, val_loss=1.0) + '\n\n{"step": 2, "epoch": 1}\n',
            "HISTORY line 3 is not a record: a record needs the key 'metrics'. Received: ['epoch', 'step'].",
            id="no metrics",
        ),
        pytest.param(
            GATE,
            '{"step": 1, "epoch": 0, "metrics": {"val_loss": NaN}}\n',
            "HISTORY line 1 is damaged: NaN is not strict JSON.",
            id="NaN",
        ),
        pytest.param(
            GATE,
            '{"step": -1, "epoch": 0, "metrics": {}}\n',
            "HISTORY line 1 is not a record: step must be a whole number of at least 0. Received: step=-1.",
            id="a step below 0",
        ),
        pytest.param(
            GATE,
            '{"event": "resumed"}\n',
            "HISTORY line 1 is not a record: a resumed line needs a whole number after_step. Received: None.",
            id="resumed after what",
        ),
        pytest.param(
            GATE,
            line(1, loss=0.1) + "\n" + line(2, loss=0.1, accuracy=0.5),
            "save of RULES names 'val_loss', which no record of the history has. Logged were: accuracy, loss. "
            "Name one of these in the rules.",
            id="a metric that no record has",
        ),
    ],
)
def test_replay_refuses(home, rules, history, message):
    places = [home.root / "gate.yaml", home.root / "history.jsonl"]
    for place, text in zip(places, (rules, history), strict=True):
        if text is not None:
            place.write_text(text)
    told = home.error("replay", "--rules", places[0], "--history", places[1], "--json")
    assert told.startswith(message.replace("RULES", str(places[0])).replace("HISTORY", str(places[1])))


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("store/demo", id="the folder of a run"),
        pytest.param("store", id="a store of one run"),
        pytest.param("store/demo/ledger.jsonl", id="the ledger itself"),
    ],
)
def test_replay_finds_the_ledger_of_the_only_run(home, store, place):
    home.train([0.9, 0.5])
    result = home.call("replay", "--history", home.root / place)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "2 records: 1 saved, 1 refused")


def test_a_store_of_several_runs_is_not_one_history(home, store):
    home.train([0.9], "a")
    home.train([0.9], "b")
    assert home.error("replay", "--history", store) == (
        f"{store} holds 2 ledgers: name one of {store}/a/ledger.jsonl, {store}/b/ledger.jsonl."
    )


@pytest.mark.parametrize("command", [("suggest",), ("replay", "--history")], ids=["suggest", "replay"])
def test_a_folder_without_a_ledger_is_told(home, command):
    (home.root / "empty").mkdir()
    assert home.error(*command, home.root / "empty") == (
        f"{home.root}/empty is a folder without a ledger.jsonl, and neither a run nor a store of runs."
    )


# check


def findings(home, store, code):
    told = home.json("check", store, code=code)
    assert told["ok"] == (code == 0)
    assert told["faults"] == sum(f["severity"] == "fault" for f in told["findings"])
    return [(f["severity"], f["place"].removeprefix(f"{store}/"), f["what"]) for f in told["findings"]]


def test_a_sound_store_passes_and_is_not_touched(home, store):
    home.train([0.9, 0.4, 0.3], rules=GATE + "\nkeep: {last: 1}")
    home.train([0.4], "other")
    before = everything(store)
    assert findings(home, store, 0) == [
        ("note", str(store), "a local disk: checkpoints are published by rename"),
        ("note", "demo/checkpoints", f"live checkpoints: 1, {size(30)} B"),
        ("note", "other/checkpoints", f"live checkpoints: 1, {size(10)} B"),
    ]
    result = home.call("check", store)
    assert result.stdout.splitlines()[0] == f"note     {store}: a local disk: checkpoints are published by rename"
    assert result.stderr == "Every live checkpoint verifies; warnings: 0\n"
    assert everything(store) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edit(old: str, new: str):
    return lambda path: path.write_text(path.read_text().replace(old, new))


DATA = "demo/checkpoints/step-000000020/ckpt.data-00000-of-00001"
MANIFEST = "demo/checkpoints/step-000000020/manifest.json"


@pytest.mark.parametrize(
    ("change", "what", "place", "message"),
    [
        pytest.param(flip, DATA, "demo/checkpoints/step-000000020", "does not match its checksum", id="a flipped bit"),
        pytest.param(cut, DATA, "demo/checkpoints/step-000000020", "has 99 bytes, its manifest says 100", id="cut"),
        pytest.param(Path.unlink, DATA, "demo/checkpoints/step-000000020", "is missing", id="a file is gone"),
        pytest.param(flip, MANIFEST, "demo/checkpoints/step-000000020", "is damaged", id="a damaged manifest"),
        pytest.param(Path.unlink, MANIFEST, "demo/checkpoints/step-000000020", "has no manifest", id="no manifest"),
        pytest.param(
            lambda path: shutil.rmtree(path.parent),
            DATA,
            "demo/checkpoints/step-000000020",
            "saved at epoch 2, but gone, and no tombstone tells why",
            id="a checkpoint is gone",
        ),
        pytest.param(
            edit('"step": 10', '"step": 1O'), "demo/ledger.jsonl", "demo/ledger.jsonl", "line 2 is damaged", id="ledger"
        ),
        pytest.param(
            lambda path: path.write_text("[]\n"),
            "demo/tombstones.jsonl",
            "demo/tombstones.jsonl",
            "line 1 is damaged: must be an object",
            id="tombstones",
        ),
        pytest.param(
            lambda path: path.write_text('{"format": 1, "pins": [10]}'),
            "demo/pins.json",
            "demo/pins.json",
            "pins must be an object of steps and notes",
            id="pins",
        ),
        pytest.param(
            edit('"format": 1', '"format": 2'), "demo/run.json", "demo/run.json", "has the format 2", id="run"
        ),
        pytest.param(
            lambda path: path.write_text('{"format": 1, "run": "demo"}'),
            "champion.json",
            "champion.json",
            "it does not tell run, step and version",
            id="who is champion",
        ),
        pytest.param(
            lambda path: (path.parent.mkdir(exist_ok=True), path.write_text("{}")),
            "demo/journal/" + "0" * 64 + ".json",
            "demo/journal/" + "0" * 64 + ".json",
            "has the format None",
            id="a damaged journal",
        ),
        pytest.param(
            lambda path: (path.rename(path.with_name("aside")), path.symlink_to("aside")),
            "demo/checkpoints",
            "demo",
            "is a symbolic link; the store does not follow links",
            id="a folder that is a link",
        ),
    ],
)
def test_check_names_each_fault(home, store, change, what, place, message):
    home.train([0.4, 0.3, 0.2])
    home.train([0.4], "other")
    change(store / what)
    before = everything(store)
    faults = [(at, told) for severity, at, told in findings(home, store, 1) if severity == "fault"]
    assert [at for at, _ in faults] == [place]
    assert message in faults[0][1]
    result = home.call("check", store)
    assert result.exit_code == 1
    assert re.search(rf"^fault    {re.escape(str(store / place))}: .*{re.escape(message)}", result.stdout, re.MULTILINE)
    assert result.stderr.startswith("Faults: 1; warnings: ")
    assert everything(store) == before


def foreign(run):
    (run.files.root / "demo" / "checkpoints" / "step-7").mkdir()


def extra(run):
    (folder(run, 10) / "notes.txt").write_text("mine")


def stranger_beside_the_runs(run):
    (run.files.root / "notes.txt").write_text("mine")


def temporary(run):
    (run.files.root / "demo" / f".run.json.{'0' * 12}.tmp").write_text("")


def half_written(run):
    (run.files.root / "demo" / "tmp" / ("ab" * 16)).mkdir(parents=True)


def torn_ledger(run):
    with (run.files.root / "demo" / "ledger.jsonl").open("a") as file:
        file.write('{"step": 4')


def trashed(run):
    with run.lease("pruning") as lease:
        execute_prune(run, make_plan(run, {10: "bad"}, {}, 86400.0, "f" * 64, "CheckpointFilter"), lease)


def interrupted(run):
    plan = make_plan(run, {10: "bad"}, {}, 86400.0, "f" * 64, "CheckpointFilter")
    plan.write(run, 0)


def moved_back_by_hand(run):
    trashed(run)
    next((run.files.root / "demo" / "trash").iterdir()).rename(folder(run, 10))


def damaged_trash(run):
    trashed(run)
    flip(next((run.files.root / "demo" / "trash").glob("*/ckpt.index")))


def quarantined(run):
    run.quarantine(run.live()[0], "one bit is wrong")


def damaged_state(run):
    path = folder(run, 30, "resume") / "ckpt.index"
    data = path.read_bytes()
    path.unlink()  # the gated checkpoint of that step shares the bytes
    path.write_bytes(data[:-1])


def leased(run):
    run.lease("pruning").acquire()


def champion(run):
    note_champion(run.files, ChampionNote("demo", 10, "1790000000"))


def no_record(run):
    ledger = run.files.root / "demo" / "ledger.jsonl"
    ledger.write_text("".join(text for text in ledger.read_text().splitlines(True) if '"step": 30' not in text))


@pytest.mark.parametrize(
    ("prepare", "severity", "place", "message"),
    [
        pytest.param(foreign, "warning", "demo/checkpoints/step-7", "is not of this store", id="a foreign folder"),
        pytest.param(
            extra,
            "warning",
            "demo/checkpoints/step-000000010/notes.txt",
            "is not listed by its manifest, and left alone",
            id="an unlisted file",
        ),
        pytest.param(stranger_beside_the_runs, "warning", "notes.txt", "is not of this store", id="a stranger"),
        pytest.param(
            temporary, "note", f"demo/.run.json.{'0' * 12}.tmp", "left by an interrupted write", id="temporary"
        ),
        pytest.param(half_written, "note", "demo/tmp/" + "ab" * 16, "half-written", id="half-written"),
        pytest.param(torn_ledger, "note", "demo/ledger.jsonl", "its last line was torn by a crash", id="torn ledger"),
        pytest.param(
            trashed,
            "note",
            "demo/journal/*",
            r"an open pruning: 1 checkpoints, \d+ B, lie in the trash, their grace lasts until \d{4}-..-.. ..:.. UTC",
            id="an open pruning",
        ),
        pytest.param(
            interrupted,
            "warning",
            "demo/journal/*",
            "a pruning was interrupted with 1 checkpoints to go; the next writer finishes it",
            id="an interrupted pruning",
        ),
        pytest.param(
            moved_back_by_hand,
            "warning",
            "demo/checkpoints/step-000000010",
            "is alive, but has a tombstone of 20",
            id="a tombstone of what is alive",
        ),
        pytest.param(
            damaged_trash, "warning", "demo/trash/*", "cannot be brought back: .* does not match", id="damaged trash"
        ),
        pytest.param(
            quarantined,
            "note",
            "demo/quarantine/step-000000010",
            "in quarantine: one bit is wrong",
            id="what is in quarantine",
        ),
        pytest.param(
            damaged_state,
            "warning",
            "demo/resume/step-000000030",
            "training would resume from an earlier state: .* has 7 bytes",
            id="a damaged state to resume from",
        ),
        pytest.param(leased, "note", "demo/lease.000000002.json", "a writer is at work, or was killed", id="a lease"),
        pytest.param(
            no_record,
            "warning",
            "demo/checkpoints/step-000000030",
            "the ledger has no record that saved it",
            id="a checkpoint without a record",
        ),
    ],
)
def test_what_is_no_fault_is_told_and_passes(home, store, prepare, severity, place, message):
    run = home.train([0.4, 0.3, 0.2])
    prepare(run)
    told = [f for f in findings(home, store, 0) if re.search(message, f[2])]
    assert len(told) == 1
    assert told[0][0] == severity
    assert Path(told[0][1]).match(place)


def test_a_checkpoint_saved_again_after_its_tombstone_is_no_warning(home, store):
    run = home.train([0.4, 0.3])
    trashed(run)
    for step in (10, 20):
        shutil.rmtree(folder(run, step, "resume"), ignore_errors=True)
    shutil.rmtree(folder(run, 20))
    home.train([0.4, 0.3])
    assert [f for f in findings(home, store, 0) if f[0] != "note"] == []


def test_repair_mends_and_exits_by_what_is_left(home, store):
    run = home.train([0.4, 0.3, 0.2])
    flip(folder(run, 20) / "ckpt.index")
    half_written(run)
    shutil.rmtree(folder(run, 10))
    (store / "demo" / "pins.json").write_text("{}")
    told = home.json("check", store, "--repair", code=1)
    assert [(Path(f["place"]).parts[-2:], f["remedy"]) for f in told["repaired"]] == [
        (("checkpoints", "step-000000020"), "moved to the quarantine, where its bytes stay"),
        (("checkpoints", "step-000000010"), "taken for lost, and told so in the tombstones"),
        (("tmp", "ab" * 16), "cleared away"),
    ]
    assert [(f["severity"], f["advice"]) for f in told["findings"] if f["severity"] != "note"] == [
        ("fault", "bring it back from a copy; or move it away, and pin again")
    ]
    assert (told["ok"], told["faults"], home.store.revision()) == (False, 1, 1)
    again = home.json("check", store, "--repair", code=1)
    assert (again["repaired"], again["findings"], home.store.revision()) == ([], told["findings"], 1)


def test_repair_in_words(home, store):
    run = home.train([0.4, 0.3, 0.2])
    flip(folder(run, 20) / "ckpt.index")
    (store / "notes.txt").write_text("mine")
    plain = home.call("check", store)
    assert plain.exit_code == 1
    assert plain.stderr == "Faults: 1; warnings: 1; --repair would see to 1 of these findings\n"
    result = home.call("check", store, "--repair")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[1] == (
        f"warning  {store}/notes.txt: is not of this store, and left alone; "
        "move it out of the store, unless it is to stay here"
    )
    assert lines[2].startswith(f"mended   {folder(run, 20)}: ")
    assert lines[2].endswith("does not match its checksum; moved to the quarantine, where its bytes stay")
    assert result.stderr == "Every live checkpoint verifies; warnings: 1; mended: 1\n"


@pytest.mark.parametrize("command", ["check", "repair", "prune"])
def test_progress_is_shown_on_a_terminal_only(home, store, command):
    run = home.train([0.4, 0.3])
    total = sum(stored.manifest.size for stored in run.live())
    rules = home.file("r.yaml", STRICT)
    arguments = {
        "check": ["check", store],
        "repair": ["check", store, "--repair"],
        "prune": ["prune", store, "--rules", rules],
    }[command]
    resumable = 0 if command == "prune" else run.resumable.stored()[0].manifest.size
    program = [sys.executable, "-c", "from checkpoint_gate.cli import main; main()", *map(str, arguments), "--json"]
    ours, theirs = os.openpty()
    shown = subprocess.run(program, stdout=subprocess.PIPE, stderr=theirs, timeout=60)
    os.close(theirs)
    words = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert f"{total + resumable}/{total + resumable} bytes" in words
    piped = subprocess.run(program, capture_output=True, timeout=60)
    assert b"bytes" not in piped.stderr
    assert piped.stdout == shown.stdout
    assert isinstance(json.loads(shown.stdout), dict)


def test_repair_of_a_run_in_use_fails_with_one_sentence(home, store):
    run = home.train([0.4])
    with run.lease("training"):
        result = home.call("check", store, "--repair")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fault")]
    assert re.fullmatch(
        r"fault    \S+/demo: could not be repaired: \S+/demo is in use by process \d+ on \S+ \(training\)\. "
        r"Wait until it has ended, and try again; see to that, and repair again",
        line,
    )


# prune


def test_a_dry_run_prints_the_plan_and_changes_nothing(home, store):
    run = home.train([0.4, 0.3, 0.45, 0.5, 0.35, 0.6])
    run.pin(30, "shown to the customer")
    rules = home.file("r.yaml", STRICT)
    before = everything(store)
    told = home.json("prune", store, "--rules", rules)
    assert everything(store) == before
    assert [(g["step"], g["epoch"], g["bytes"], g["reason"]) for g in told["runs"][0]["going"]] == [
        (10, 0, size(10), "val_loss 0.4 is not at most 0.35 (by 0.05)"),
        (40, 3, size(40), "val_loss 0.5 is not at most 0.35 (by 0.15)"),
    ]
    assert told["runs"][0]["staying"] == [
        {"step": 20, "epoch": 1, "reason": "survives: val_loss 0.3 is at most 0.35"},
        {
            "step": 30,
            "epoch": 2,
            "reason": "pinned: shown to the customer (rejected: val_loss 0.45 is not at most 0.35 (by 0.1))",
        },
        {"step": 50, "epoch": 4, "reason": "among the last 1 (survives: val_loss 0.35 is at most 0.35)"},
    ]
    assert (told["executed"], told["bytes"], told["grace"]) == (False, size(10) + size(40), 86400.0)
    result = home.call("prune", store, "--rules", rules)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"run demo: 2 of 5 checkpoints would go, {size(10) + size(40)} B"
    assert result.stdout.splitlines()[-1] == f"digest {told['digest']}"
    assert result.stderr.splitlines() == [
        "Nothing was removed. To do exactly this:",
        f"  checkpoint-gate prune {store} --rules {rules} --execute {told['digest']}",
    ]
    assert everything(store) == before


def test_the_champion_stays_and_why_says_so(home, store):
    run = home.train([0.4, 0.3])
    champion(run)
    told = home.json("prune", store, "--rules", home.file("r.yaml", STRICT))["runs"][0]
    assert told["going"] == []
    assert told["staying"][0]["reason"].startswith("the champion, pushed as version 1790000000 (rejected: ")
    assert "\n  protected the champion, pushed as version 1790000000\n" in home.call("why", store, "--step", 10).stdout
    assert findings(home, store, 0) == [
        ("note", str(store), "a local disk: checkpoints are published by rename"),
        ("note", "demo/checkpoints", f"live checkpoints: 2, {size(10) + size(20)} B"),
    ]


def test_execute_does_what_was_printed(home, store):
    run = home.train([0.4, 0.3, 0.45, 0.2])
    home.train([0.45, 0.3], "other")
    rules = home.file("r.yaml", STRICT)
    planned = home.json("prune", store, "--rules", rules)
    done = home.json("prune", store, "--rules", rules, "--execute", planned["digest"])
    assert done["executed"]
    assert [r["going"] for r in done["runs"]] == [r["going"] for r in planned["runs"]]
    assert (done["trashed_bytes"], done["swept_bytes"]) == (planned["bytes"], 0)
    assert [(row["run"], row["step"], row["state"]) for row in home.json("list", store)] == [
        ("demo", 10, "trashed"),
        ("demo", 20, "kept"),
        ("demo", 30, "trashed"),
        ("demo", 40, "kept"),
        ("other", 10, "trashed"),
        ("other", 20, "kept"),
    ]
    assert home.json("why", store, "--run", "demo", "--step", 10)[0]["pruned"]["by"] == "checkpoint-gate prune"
    assert run.lease("looking").holder() is None


def test_executing_again_finds_it_done(home, store):
    home.train([0.4, 0.3])
    rules = home.file("r.yaml", STRICT)
    digest = home.json("prune", store, "--rules", rules)["digest"]
    home.call("prune", store, "--rules", rules, "--execute", digest)
    before = everything(store / "demo" / "checkpoints")
    result = home.call("prune", store, "--rules", rules, "--execute", digest)
    assert result.exit_code == 0
    assert "This plan had been carried out before." in result.stderr
    assert everything(store / "demo" / "checkpoints") == before


def test_an_interrupted_execution_is_finished_by_the_same_command(home, store, monkeypatch):
    run = home.train([0.4, 0.45, 0.3])
    rules = home.file("r.yaml", STRICT)
    digest = home.json("prune", store, "--rules", rules)["digest"]
    with monkeypatch.context() as patch:
        patch.setattr("checkpoint_gate.store.pruning._move", lambda *args: (_ for _ in ()).throw(OSError("killed")))
        assert isinstance(home.call("prune", store, "--rules", rules, "--execute", digest).exception, OSError)
    assert home.call("prune", store, "--rules", rules, "--execute", digest).exit_code == 0
    assert [(row.step, row.state) for row in rows(run)] == [(10, "trashed"), (20, "trashed"), (30, "kept")]


def pinned(home, run):
    run.pin(10, "no, wait")


def other_rules(home, run):
    home.file("r.yaml", STRICT.replace("0.35", "0.42"))


def trained_on(home, run):
    training = GatedTraining(home.store, parse_rules(GATE), "demo")
    training.begin(4)
    record = Record(40, 3, {"loss": 0.4, "val_loss": 0.41}, time=home.clock())
    training.commit(record, training.observe(record), lambda prefix: write(prefix, 40))
    training.finish(4)


def damaged(home, run):
    flip(folder(run, 20) / "ckpt.index")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(pinned, id="a checkpoint was pinned"),
        pytest.param(other_rules, id="the rules changed"),
        pytest.param(damaged, id="a checkpoint was damaged"),
    ],
)
def test_execute_refuses_a_plan_that_changed(home, store, change):
    run = home.train([0.4, 0.3, 0.45])
    rules = home.file("r.yaml", STRICT + "# more")
    digest = home.json("prune", store, "--rules", rules)["digest"]
    change(home, run)
    before = everything(store / "demo" / "checkpoints")
    told = home.error("prune", store, "--rules", rules, "--execute", digest)
    assert told.startswith(f"Nothing was pruned: this is not the plan any more that the digest {digest} names; now ")
    assert told.endswith("Look at it again without --execute.")
    assert everything(store / "demo" / "checkpoints") == before
    assert not (store / "demo" / "trash").exists()


def test_training_on_changes_the_plan(home, store):
    run = home.train([0.4, 0.3, 0.45])
    rules = home.file("r.yaml", STRICT)
    digest = home.json("prune", store, "--rules", rules)["digest"]
    trained_on(home, run)
    assert "not the plan any more" in home.error("prune", store, "--rules", rules, "--execute", digest)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param(
            "filter: {metric: val_loss, at_most: 0.01}",
            "Nothing was pruned from demo: no survivor would be left.",
            id="no survivor",
        ),
        pytest.param(
            "filter: {metric: val_loss, at_most: 0.3}\nprune: {max_fraction: 0.1}",
            "Nothing was pruned from demo: 1 of 3 checkpoints would go, more than max_fraction 0.1 allows.",
            id="too many",
        ),
    ],
)
def test_prune_refuses(home, store, rules, message):
    home.train([0.4, 0.3, 0.2])
    result = home.call("prune", store, "--rules", home.file("r.yaml", rules), "--json")
    assert result.exit_code == 1
    assert f"Error: {message}" in result.stderr
    told = json.loads(result.stdout)
    assert told["digest"] is None
    assert told["runs"][0]["refused"].startswith(message)
    assert len(told["runs"][0]["staying"]) == 3


def test_a_run_without_checkpoints_does_not_keep_the_others_from_being_pruned(home, store):
    home.train([0.4, 0.3])
    home.train([9.0, 9.0], "broken-off")
    rules = home.file("r.yaml", STRICT)
    told = home.json("prune", store, "--rules", rules)
    assert [(r["run"], len(r["going"]), r["refused"]) for r in told["runs"]] == [
        ("broken-off", 0, None),
        ("demo", 1, None),
    ]
    done = home.json("prune", store, "--rules", rules, "--execute", told["digest"])
    assert done["trashed_bytes"] == size(10)


def test_a_damaged_checkpoint_stops_the_pruning_of_its_run_only(home, store):
    run = home.train([0.4, 0.3])
    home.train([0.4, 0.3], "other")
    flip(folder(run, 10) / "ckpt.index")
    rules = home.file("r.yaml", STRICT)
    told = home.json("prune", store, "--rules", rules, code=1)
    assert told["runs"][0]["refused"].startswith("Nothing was pruned from demo: 1 of its checkpoints are damaged (")
    assert told["runs"][1]["refused"] is None
    done = home.json("prune", store, "--rules", rules, "--execute", told["digest"], code=1)
    assert done["trashed_bytes"] == size(10)
    assert [row["state"] for row in home.json("list", store)] == ["kept", "kept", "trashed", "kept"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        pytest.param(GATE, "Pruning needs rules with the section `filter`", id="no filter"),
        pytest.param("filter: {metric: f1, at_least: 0.5}", "filter names 'f1', which training never", id="unknown"),
        pytest.param("filter: {}", "r.yaml line 1: filter must ", id="empty rules"),
    ],
)
def test_prune_needs_rules(home, store, rules, message):
    home.train([0.4])
    assert message in home.error("prune", store, "--rules", home.file("r.yaml", rules))


def test_a_run_in_use_is_not_pruned(home, store):
    run = home.train([0.4, 0.3])
    rules = home.file("r.yaml", STRICT)
    digest = home.json("prune", store, "--rules", rules)["digest"]
    run.lease("training").acquire()
    told = home.error("prune", store, "--rules", rules, "--execute", digest)
    assert re.search(rf"demo is in use by process {os.getpid()} on .* \(training\)\. Wait until it has ended", told)
    assert {row["state"] for row in home.json("list", store)} == {"kept"}


def test_without_a_grace_the_bytes_are_freed_at_once(home, store):
    home.train([0.4, 0.3])
    rules = home.file("r.yaml", STRICT.replace("24h", "0s"))
    digest = home.json("prune", store, "--rules", rules)["digest"]
    done = home.json("prune", store, "--rules", rules, "--execute", digest)
    assert (done["trashed_bytes"], done["swept_bytes"]) == (0, size(10))
    assert [row["state"] for row in home.json("list", store)] == ["pruned", "kept"]


def test_what_is_past_its_grace_is_freed_with_any_execution(home, store, monkeypatch):
    monkeypatch.setattr(SystemClock, "uptime", lambda clock: ("unknown", clock()))  # of the boot that moved it there
    home.clock.now -= 2 * 86400
    trashed(home.train([0.3, 0.2]))
    rules = home.file("r.yaml", STRICT)
    told = home.json("prune", store, "--rules", rules)
    assert (told["runs"][0]["going"], told["runs"][0]["sweepable_bytes"]) == ([], size(10))
    assert f"freed with any execution: {size(10)} B" in home.call("prune", store, "--rules", rules).stdout
    assert home.json("prune", store, "--rules", rules, "--execute", told["digest"])["swept_bytes"] == size(10)
    assert [row["state"] for row in home.json("list", store)] == ["pruned", "kept"]


# undelete and pin


def test_undelete_brings_back_and_says_to_pin(home, store):
    run = home.train([0.4, 0.3])
    trashed(run)
    result = home.call("undelete", store, "--run", "demo", "--step", 10)
    assert result.exit_code == 0
    assert result.stdout == f"{folder(run, 10)}\n"
    assert result.stderr == (
        "Step 10 of demo is back. Pin it, or the next pruning by the same rules takes it away again.\n"
    )
    assert [row["state"] for row in home.json("list", store)] == ["kept", "kept"]
    assert home.call("check", store).exit_code == 0


def test_undelete_in_json(home, store):
    run = home.train([0.4, 0.3])
    trashed(run)
    told = home.json("undelete", store, "--step", 10)
    assert told == {"run": "demo", "step": 10, "path": str(folder(run, 10)), "revision": 1}


def test_undelete_names_what_the_trash_has(home, store):
    trashed(home.train([0.4, 0.3]))
    assert home.error("undelete", store, "--step", 70) == (
        "Step 70 of demo cannot be brought back: it is not in the trash. The trash has: 10."
    )


def test_several_runs_want_the_run_named(home, store):
    home.train([0.4])
    home.train([0.4], "other")
    for args in (["undelete", store, "--step", 10], ["pin", store, "--step", 10, "--note", "x"]):
        assert home.error(*args) == f"Name the run with --run. The store {store} has: demo, other."


def test_a_pin_holds_and_goes(home, store):
    home.train([0.4, 0.3])
    rules = home.file("r.yaml", STRICT)
    told = home.json("pin", store, "--run", "demo", "--step", 10, "--note", "for the talk")
    assert told == {"run": "demo", "step": 10, "pinned": True, "note": "for the talk", "revision": 1}
    assert [row["pinned"] for row in home.json("list", store)] == [True, False]
    assert home.json("prune", store, "--rules", rules)["runs"][0]["going"] == []
    result = home.call("unpin", store, "--step", 10)
    words = "Step 10 of demo is no longer pinned. It had been, with the note: for the talk.\n"
    assert (result.exit_code, result.stderr) == (0, words)
    assert home.store.revision() == 2
    assert [g["step"] for g in home.json("prune", store, "--rules", rules)["runs"][0]["going"]] == [10]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            ["pin", "--step", 20, "--note", "x"],
            "Step 20 of demo has no live checkpoint to pin. Live are: 10, 30.",
            id="only what is live can be pinned",
        ),
        pytest.param(["unpin", "--step", 10], "Step 10 of demo is not pinned. Pinned are: 30.", id="no such pin"),
    ],
)
def test_pin_names_what_there_is(home, store, args, message):
    run = home.train([0.4, 0.9, 0.3])
    run.pin(30, "x")
    command, *options = args
    assert home.error(command, store, *options) == message


def test_unpin_tells_its_note(home, store):
    run = home.train([0.4, 0.3])
    run.pin(10, "for the talk")
    told = home.json("unpin", store, "--run", "demo", "--step", 10, "--note", "the talk is over")
    assert told == {
        "run": "demo",
        "step": 10,
        "pinned": False,
        "note": "the talk is over",
        "note_before": "for the talk",
        "revision": 2,
    }
    run.pin(20, "for me")
    result = home.call("unpin", store, "--step", 20, "--note", "mine no more")
    words = "Step 20 of demo is no longer pinned: mine no more. It had been, with the note: for me.\n"
    assert result.stderr == words
