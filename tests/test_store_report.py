"""`checkpoint-gate report`: a store as one HTML page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from faults.crowd import Crowd

from checkpoint_gate.cli import cli
from checkpoint_gate.report.store_page import render_store, report_of
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.judgement import Decision
from checkpoint_gate.rules.records import Record
from checkpoint_gate.training.gated_training import GatedTraining

GATE = "save: {all: [{metric: val_loss, at_most: 0.5}, {metric: loss, at_most: 0.45}]}"
STRICT = "filter: {metric: val_loss, at_most: 0.35}\nprune: {grace: 0s, max_fraction: 0.9}"


class Page(HTMLParser):
    """The tables of a page, as rows of cells, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._into = self.rows[-1]
        if tag in ("h1", "h2", "h3"):
            self._into = self.headings
        if tag in ("td", "th", "h1", "h2", "h3"):
            self._into.append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th", "h1", "h2", "h3"):
            self._into = None

    def handle_data(self, data):
        if self._into is not None:
            self._into[-1] += data


def train(crowd: Crowd, key: str, val_losses, clock):
    """A gated training of which every epoch is 10 steps."""
    training = GatedTraining(crowd.store, parse_rules(GATE), key)
    training.begin(len(val_losses))
    for epoch, value in enumerate(val_losses):
        clock.now += 1
        record = Record((epoch + 1) * 10, epoch, {"loss": 0.4, "val_loss": value}, time=clock())
        training.commit(
            record, training.observe(record), lambda prefix: Path(f"{prefix}.index").write_bytes(b"x" * 1000)
        )
    training.finish(len(val_losses))
    return training.run


@pytest.fixture
def trained(crowd, clock, tmp_path):
    """Two runs; of the first a checkpoint is pruned and one pinned."""
    run = train(crowd, "first", [0.9, 0.5, 0.4, 0.3, float("nan")], clock)
    run.pin(20, "a paper cites it")
    rules = tmp_path / "strict.yaml"
    rules.write_text(STRICT)
    prune = ["prune", str(crowd.root), "--rules", str(rules), "--json"]
    digest = json.loads(CliRunner().invoke(cli, prune).stdout)["digest"]
    assert CliRunner().invoke(cli, [*prune, "--execute", digest]).exit_code == 0
    clock.now += 3600
    train(crowd, "second", [0.2], clock)
    return crowd


def call(*args: object):
    return CliRunner().invoke(cli, ["report", *map(str, args)])


def test_every_run_is_told_the_newest_first(trained, tmp_path):
    done = call(trained.root, "-o", tmp_path / "page.html")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}/page.html\n")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.headings[:2] == [f"The checkpoint store {trained.root}", "second"]
    assert page.headings.index("first") > page.headings.index("second")
    assert "5 epochs: 3 saved, 2 refused." in text
    assert "val_loss was nan at epoch 5" in text


def test_every_checkpoint_stands_there_with_what_became_of_it(trained):
    page = Page(render_store("x", [report_of(trained.store.run("first"))]))
    first = page.rows.index(["epoch", "step", "state", "size", "loss", "val_loss", "why"])
    assert [row[:6] for row in page.rows[first + 1 :]] == [
        ["2", "20", "kept, pinned", "1000 B", "0.4", "0.5"],
        ["3", "30", "pruned", "1000 B", "0.4", "0.4"],
        ["4", "40", "kept", "1000 B", "0.4", "0.3"],
    ]
    assert "val_loss 0.4 is not at most 0.35" in page.rows[first + 2][6]


def test_refusals_are_counted_by_clause(trained):
    page = Page(render_store("x", [report_of(trained.store.run("first"))]))
    assert [row for row in page.rows if row[-1].endswith(("time", "times"))] == [
        ["val_loss at most 0.5", "", "2 times"]
    ]


def test_the_same_for_programs(trained, tmp_path):
    done = call(trained.root, "-o", tmp_path / "page.html", "--json", "--run", "first")
    assert json.loads(done.stdout) == {
        "report": f"{tmp_path}/page.html",
        "runs": [
            {
                "run": "first",
                "records": 5,
                "saved": 3,
                "refused": 2,
                "resumed": 0,
                "refusals": {"val_loss at most 0.5": 2},
                "states": {"kept": 2, "pruned": 1},
                "bytes": 2000,
            }
        ],
    }
    assert Page((tmp_path / "page.html").read_text()).headings[1] == "first"


def test_a_page_of_several_runs_has_no_id_twice_and_every_plot_is_whole(trained):
    text = render_store("x", [report_of(trained.store.run(key)) for key in ("first", "second")])
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 2
    for plot in plots:
        ElementTree.fromstring(plot)


def test_the_gate_of_the_ledger_is_drawn_or_the_rules_that_are_given(trained, tmp_path):
    run = trained.store.run("first")
    (tmp_path / "r.yaml").write_text("filter: {metric: val_loss, at_most: 0.125}\n")
    assert "at most 0.5" in render_store("x", [report_of(run)])
    assert call(trained.root, "-o", tmp_path / "page.html", "--rules", tmp_path / "r.yaml").exit_code == 0
    text = (tmp_path / "page.html").read_text()
    assert "at most 0.125" in text
    assert ">gate: " not in text


def test_a_ledger_whose_rules_nobody_can_read_is_told_without_limits(crowd):
    run = crowd.store.start("odd", gate={"save": {"metric": "val_loss", "at_most": "soon"}})
    run.ledger.append(Record(1, 0, {"val_loss": 0.5}), Decision(True, "as told"))
    assert "1 epoch: 1 saved, 0 refused." in render_store("x", [report_of(run)])


def test_names_are_text_and_no_markup(crowd):
    run = crowd.store.start("odd", gate={"save": {"metric": "val_loss", "at_most": 1.0}})
    run.ledger.append(Record(1, 0, {"<script>alert(1)</script>": 0.5}), Decision(False, "<b>no</b>"))
    crowd.publish(run, Record(2, 1, {"<img src=x>": 0.5}))
    text = render_store("<i>place</i>", [report_of(run)])
    assert not re.search(r"<(script|b|img|i)\b", text)


def test_an_empty_store_says_so(crowd):
    crowd.store.create()
    assert "It holds no run." in render_store("x", [])


def test_a_page_that_cannot_be_written_is_one_sentence_and_an_older_one_stays(trained, tmp_path):
    missing = call(trained.root, "-o", tmp_path / "no" / "page.html")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert (
        missing.stderr == f"Error: The report {tmp_path}/no/page.html cannot be written: No such file or directory.\n"
    )
    nowhere = call(tmp_path / "nowhere", "-o", tmp_path / "page.html")
    assert nowhere.stderr == f"Error: There is no checkpoint store at {tmp_path}/nowhere.\n"
    assert not (tmp_path / "page.html").exists()


def test_nothing_in_the_store_changes(trained, tree, tmp_path):
    before = tree(Path(trained.root))
    call(trained.root, "-o", tmp_path / "page.html")
    assert tree(Path(trained.root)) == before


def test_no_tensorflow_is_imported(trained, tmp_path):
    code = (
        "import sys; from checkpoint_gate.cli import cli; cli(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    )
    arguments = ["report", str(trained.root), "-o", str(tmp_path / "page.html")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "tfx", "keras", "apache_beam"} & set(done.stdout.split())
