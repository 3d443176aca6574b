"""The report of a run: one HTML page that stands alone."""

import io
import logging
import math
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from checkpoint_gate.report.curves import panels
from checkpoint_gate.rule_text.rule_set import parse_rules
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store.ledger import Entry, History
from gated_pipelines.reporting.report import write_report
from gated_pipelines.reporting.summary import Summary
from gated_pipelines.reporting.words import tell

RULES = parse_rules(
    """
save:
  all:
    - {metric: loss, at_most: 0.6}
    - {metric: val_loss, at_most: {from: 0.9, to: 0.5, epochs: 4, shape: linear}}
    - {metric: val_loss, moving_average: 2, at_most: 0.8}
    - {metric: val_loss, improves: min, min_delta: 0.01}
filter: {metric: val_loss, at_most: 0.45}
"""
)
HOSTILE = "<script>alert('x')</script> & \"$\\frac{$\" </svg>\x07"
VOID = {"meta", "link", "br", "hr", "img", "input"}


def history(*metrics, rules=RULES, at="epoch"):
    """What the gate makes of these metrics, one mapping an epoch; step 10 at the end of the first."""
    gate = rules.save.start()
    records = [Record(10 * (epoch + 1), epoch, values, at) for epoch, values in enumerate(metrics)]
    return History(tuple(Entry(record, gate.decide(record)) for record in records), ())


def falling(epochs):
    return [{"loss": 1.0 / (n + 1), "val_loss": 1.1 / (n + 1)} for n in range(epochs)]


def survivor(step, run="r", interval=None, where=None, averaged=(), **metrics):
    metrics = metrics or {"accuracy": 0.9}
    score = {"value": next(iter(metrics.values())), "interval": interval, "slice": where}
    name = "average" if averaged else f"{run}--{step}"
    return {"name": name, "run": run, "step": step, "metrics": metrics, "averaged": list(averaged), "score": score}


def chosen(*candidates, winner=None, out=None, **rules):
    """What a summary says of a choice: the candidates from the best on, then those that are out: name -> reason."""
    out = out or {}
    for one in candidates:
        if one["name"] in out:
            one["score"] = None
    in_ranking = [one for one in candidates if one["name"] not in out]
    best = next((one for one in in_ranking if winner in (None, one["name"])), None)
    won = {key: best[key] for key in ("name", "run", "step", "averaged")} if best else {}
    return {
        "survivors": [one for one in candidates if not one["averaged"]],
        "average": next((one | average_of(won) for one in candidates if one["averaged"]), None),
        "selection": {
            **{"metric": "accuracy", "mode": "max", "within_noise": False, "worst_slice": False, **rules},
            "ranking": [one["name"] for one in in_ranking],
            "excluded": out,
        },
        "winner": {**won, "reason": "highest accuracy of 2"} if won else None,
    }


def average_of(winner):
    """What a summary adds of the average of the survivors' weights."""
    won = winner.get("name") == "average"
    return {"won": won, "reason": "highest accuracy of 2" if won else "a checkpoint is better"}


def summary(**changes):
    found = Summary(
        outcome="pushed",
        green=True,
        reason="every threshold holds: accuracy is 0.93",
        epochs=6,
        saved=4,
        refused=2,
        refusals={"val_loss improves (min)": 1, "loss at most 0.6": 2},
        **chosen(survivor(60, accuracy=0.93), survivor(40, accuracy=0.9)),
        blessed=True,
        pushed="/root/serving/2",
        champion="/root/serving/2",
        store="/root/store",
        run="r",
        pruned_bytes=2048,
        seconds={"Trainer": 12.5, "Pusher": 0.0},
        executed=["Trainer"],
    )
    return replace(found, **changes)


AVERAGED = [["r", 40], ["r", 60]]


@pytest.mark.parametrize(
    ("changes", "words", "absent"),
    [
        pytest.param({}, ["step 60"], ["average"], id="a checkpoint, and nobody asked for an average"),
        pytest.param(
            chosen(survivor(60), survivor(60, averaged=AVERAGED)),
            ["step 60", "did not win: a checkpoint is better"],
            ["could not"],
            id="an average that did not win",
        ),
        pytest.param(
            {"average": {"won": False, "reason": "not averaged: it needs at least 2 survivors", "metrics": None}},
            ["step 60", "did not win: not averaged: it needs at least 2 survivors"],
            [],
            id="an average that could not be had",
        ),
        pytest.param(
            chosen(survivor(60, averaged=AVERAGED), survivor(60), winner="average"),
            ["the average of the steps 40, 60"],
            ["did not win"],
            id="an average that won",
        ),
    ],
)
def test_page_and_console_say_whether_the_average_won(changes, words, absent, tmp_path):
    console = Console(file=io.StringIO(), width=200)
    tell(summary(**changes), console)
    write_report(summary(**changes), history(*falling(6)), "penguins", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8").partition("<body")[2]
    for text in (console.file.getvalue(), page):
        for word in words:
            assert word in text.lower().replace("’", "'").replace("&#39;", "'")
        for word in absent:
            assert word not in text


class Page(HTMLParser):
    """The page's words, and its elements by tag; fails where they are not nested as they must be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.words, self.elements, self._open, self.declared = "", [], [], []
        self.feed(text)
        self.close()
        assert self._open == [], f"never closed: {self._open}"
        assert self.declared == ["DOCTYPE html"]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if "style" not in self._open:
            self.words += data

    def handle_decl(self, decl):
        self.declared.append(decl)

    def handle_pi(self, data):
        self.declared.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def page(tmp_path):
    """Writes a report and reads it back."""

    def page(found=None, trained=None, name="penguins", **more):
        path = tmp_path / "report.html"
        write_report(found or summary(), trained or History((), ()), name, path, **{"rules": RULES, **more})
        assert [child.name for child in tmp_path.iterdir()] == ["report.html"]
        return Page(path.read_text(encoding="utf-8"))

    return page


def pictures(found):
    return sorted(attrs["id"].partition("-")[0] for attrs in found.all("g") if "-figure_" in attrs.get("id", ""))


def test_it_says_how_the_run_ended_and_why_at_the_top(page):
    words = page().words
    assert "A new model was pushed: every threshold holds: accuracy is 0.93." in words
    assert words.index("accuracy is 0.93") < words.index("Training behind the gate")


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        ("not_blessed", "The winner was not blessed, the champion stays: worse."),
        ("no_survivors", "No checkpoint survived, the champion stays: worse."),
        ("no_candidate", "No survivor could be chosen, the champion stays: worse."),
        ("skipped", "There was nothing to push: worse."),
        ("interrupted", "The run was interrupted: worse."),
        ("failed", "The run failed: worse."),
    ],
)
def test_every_outcome_has_its_words(page, outcome, headline):
    assert headline in page(summary(outcome=outcome, reason="worse.")).words


def test_who_was_not_blessed_stands_beside_the_champion_with_what_was_required(page):
    rows = [
        {"metric": "loss", "slice": "slice island:Dream", "candidate": "nan", "champion": 0.25, "holds": False},
        {"metric": "accuracy", "slice": "all examples", "candidate": 0.1234567, "champion": None, "holds": True},
    ]
    rows = [{**row, "required": required} for row, required in zip(rows, ("at most <1>", "at least 0.1"), strict=True)]
    found = page(summary(outcome="not_blessed", comparison=rows, rebaselined="/root/serving/1"))
    words = " ".join(found.words.split())
    table = words[words.index("Blessing") : words.index("before")]
    assert "lossslice island:Dreamnan0.25at most <1>fails" in table
    assert "accuracyall examples0.123457at least 0.1holds" in table
    assert "/root/serving/1, by --rebaseline" in words
    assert [row for row in found.all("tr") if row.get("class") == "fails"] != []


def test_the_best_so_far_stands_beside_the_champion_where_it_was_measured(page):
    row = {"metric": "loss", "slice": "all examples", "candidate": 0.5, "champion": 0.25, "holds": False}
    rows = [{**row, "best": 0.125, "required": "at most 1"}, {**row, "best": None, "required": "at most 2"}]
    words = " ".join(page(summary(outcome="not_blessed", comparison=rows)).words.split())
    assert "challengerchampionbest so farrequired" in words
    assert "lossall examples0.50.250.125at most 1fails" in words
    assert "lossall examples0.50.25at most 2fails" in words


def test_without_a_champion_none_stays(page):
    words = page(summary(outcome="not_blessed", champion=None, pushed=None, reason="worse.")).words
    assert "The winner was not blessed: worse." in words
    assert "No threshold was judged in this run." in words


def test_it_holds_what_the_summary_holds(page):
    words = page(trained=history(*falling(6)), champion_before="/root/serving/1").words
    for part in ("40", "60", "0.93", "★ winner", "Step 60 won: highest accuracy of 2.", "/root/serving/1"):
        assert part in words
    for part in ("/root/serving/2", "/root/store", "2.0 KiB", "12.5 s", "from the cache", "6 epochs: 4 saved"):
        assert part in words


def test_the_clause_that_refused_most_comes_first(page):
    words = page(summary(refusals={"a rule": 1, "loss at most 0.6": 2}), history(*falling(6))).words
    refused = words[words.index("Why epochs were refused") :]
    assert refused.index("loss at most 0.6") < refused.index("a rule")


def test_only_the_winner_is_highlighted(page):
    found = page(summary(**chosen(survivor(60, run="older"), survivor(60), winner="r--60")))
    assert [row for row in found.all("tr") if row.get("class") == "won"] == [{"class": "won"}]


def test_it_needs_nothing_from_outside(page):
    found = page(trained=history(*falling(6)))
    for tag in ("script", "link", "img", "iframe", "object", "image"):
        assert found.all(tag) == []
    targets = [v for _, attrs in found.elements for k, v in attrs.items() if k in ("href", "src", "xlink:href")]
    assert pictures(found) == ["ranking", "training"]
    assert targets
    assert all(target.startswith("#") for target in targets)


def test_limits_of_one_metric_are_told_apart(page):
    drawn = page(trained=history(*falling(6))).all("path")
    dashes = [a["style"].partition("stroke-dasharray: ")[2].partition(";")[0] for a in drawn if "style" in a]
    of_gate = {
        d for d, a in zip(dashes, (a for a in drawn if "style" in a), strict=True) if "--gate" in a["style"] and d
    }
    assert len(of_gate) == 2


def test_the_ranking_names_its_axis_its_points_and_their_epochs(page):
    words = page(trained=history(*falling(6))).words
    assert "accuracy on the eval split" in words
    assert "epoch 6 (step 60)" in words
    assert "other survivors" in words


def test_a_limit_that_falls_reads_as_in_the_plot(page):
    found = page(summary(refusals={"loss at most 0.8->0.05 over 20 epochs": 1}))
    assert "loss at most 0.8 → 0.05 over 20 epochs" in found.words


def test_ids_are_unique(page):
    found = page(trained=history(*falling(6)))
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert pictures(found) == ["ranking", "training"]
    assert len(ids) == len(set(ids))


def test_what_a_picture_refers_to_is_in_it(page):
    found = page(trained=history(*falling(6)))
    ids = {attrs["id"] for _, attrs in found.elements if "id" in attrs}
    used = {v[1:] for _, attrs in found.elements for k, v in attrs.items() if k == "xlink:href"}
    used |= {attrs["clip-path"][5:-1] for _, attrs in found.elements if "clip-path" in attrs}
    assert used
    assert used <= ids


def test_hostile_names_stay_words(page):
    rules = parse_rules(f"save: {{all: [{{metric: {quoted(HOSTILE)}, at_most: 0.5}}]}}")
    trained = history({HOSTILE: 0.7}, {HOSTILE: 0.4}, rules=rules)
    found = page(
        summary(
            reason=HOSTILE,
            refusals={HOSTILE: 1},
            **chosen(
                survivor(20, **{HOSTILE: 0.5}, interval=[0.4, 0.6], where=HOSTILE),
                survivor(30, **{HOSTILE: 0.5}),
                survivor(40, **{HOSTILE: 0.5}),
                out={"r--40": HOSTILE},
                metric=HOSTILE,
            ),
            seconds={HOSTILE: 1.0},
            store=HOSTILE,
            prune_refused=HOSTILE,
            pruned_earlier=[{"run": "r", "step": 3, "epoch": 2, "reason": HOSTILE}],
        ),
        trained,
        name=HOSTILE,
        rules=rules,
        champion_before=HOSTILE,
    )
    assert found.all("script") == []
    assert pictures(found) == ["ranking", "training"]
    assert found.words.count("<script>alert('x')</script>") >= 15


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\x07", "\\x07") + '"'


@pytest.mark.parametrize(
    ("name", "value"),
    [("_loss", 0.4), ("a" * 300, 0.4), (" a ", 0.4), ("損失\nx", 0.4), ("$x_{$", 0.4), ("spread", -1e308)],
)
@pytest.mark.filterwarnings("error")
def test_odd_metrics_are_drawn(page, name, value):
    rules = replace(RULES, filter=None, save=parse_rules("save: {metric: loss, at_most: 1}").save)
    rule = replace(rules.save.rule, metric=name)
    trained = history(
        {name: value, "loss": 0.1},
        {name: 1e308 if name == "spread" else 0.5},
        rules=replace(rules, save=replace(rules.save, rule=rule)),
    )
    assert "training" in pictures(page(trained=trained, rules=replace(rules, save=replace(rules.save, rule=rule))))


def test_what_is_not_finite_is_a_gap_with_a_note(page):
    values = [0.5, math.nan, math.inf, 0.4]
    found = page(trained=history(*({"loss": 0.5, "val_loss": value} for value in values)))
    assert "val_loss was inf or nan at epochs 2, 3" in found.words
    assert "not finite" in found.words
    assert "training" in pictures(found)


def test_a_survivor_without_a_metric_or_with_nan_is_shown(page):
    both = (survivor(40, accuracy="nan"), survivor(60, loss=0.1))
    found = page(summary(**chosen(*both, out={"r--40": "accuracy is nan", "r--60": "accuracy is missing"})))
    for words in ("nan", "60", "accuracy is nan", "accuracy is missing"):
        assert words in found.words
    assert pictures(found) == [], "there is no ranking to draw"


def cells(found, page_row):
    """The words of the row that holds `page_row` in the table of survivors."""
    table = found.words[found.words.index("Survivors") : found.words.index("Champion")]
    return next(line for line in table.splitlines() if page_row in line)


def test_the_ranking_is_shown_with_intervals_and_slices_and_who_is_out(page):
    found = page(
        summary(
            **chosen(
                survivor(80, accuracy=0.93, interval=[0.9, 0.96], where="island:Dream"),
                survivor(40, accuracy=0.91, interval=[0.87, 0.95], where="island:Biscoe"),
                survivor(60, accuracy=0.95),
                winner="r--40",
                out={"r--60": "accuracy is 0.5 on slice island:Dream, required is at least 0.8, missed by 0.3"},
                within_noise=True,
                worst_slice=True,
            )
        )
    )
    assert "on the eval split, highest accuracy on the worst slice first." in found.words
    assert "Step 40 won: highest accuracy of 2." in found.words
    assert "0.93 (0.9 to 0.96)" in cells(found, " on island:Dream")
    assert "★ winner" in cells(found, "on island:Biscoe")
    assert "required is at least 0.8, missed by 0.3" in cells(found, "missed by")
    assert [row["class"] for row in found.all("tr") if row.get("class") in ("won", "out")] == ["won", "out"]
    for words in ("step 80, island:Dream", "95 % confidence interval", "the best one's interval"):
        assert words in found.words
    assert "step 60," not in found.words, "who is out is not drawn"


def test_an_average_that_wins_is_called_by_its_name(page):
    trained = history(*falling(6))
    given = chosen(survivor(60, averaged=[["r", 40], ["r", 60]]), survivor(40), winner="average")
    found = page(summary(**given), trained)
    assert "The average of the steps 40, 60 won: highest accuracy of 2." in found.words
    assert "winner" not in found.words[: found.words.index("Why epochs were refused")], "it is on no point of the curve"


def test_one_candidate_alone_is_not_drawn(page):
    assert pictures(page(summary(**chosen(survivor(60))))) == []


def test_a_run_that_failed_before_training_has_a_report(page):
    found = page(Summary(reason="the train split is empty"), rules=None)
    assert "The run failed: the train split is empty." in found.words
    assert "No epoch was recorded in this run." in found.words
    assert found.all("svg") == []


@pytest.mark.parametrize("epochs", [1, 2])
def test_few_epochs_are_drawn(page, epochs):
    assert "training" in pictures(page(trained=history(*falling(epochs))))


def test_metrics_that_nobody_logged_leave_no_panel(page):
    assert pictures(page(trained=history({"mae": 1.0}))) == ["ranking"]


def test_a_thousand_epochs_take_less_than_three_seconds(page):
    trained = history(*falling(1000))
    page(trained=history(*falling(2)))  # imports
    begun = time.process_time()
    page(trained=trained)
    assert time.process_time() - begun < 3.0


def test_the_same_input_gives_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.html", "b.html")]
    for path in paths:
        write_report(summary(), history(*falling(6)), "penguins", path, rules=RULES)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_report_of_the_last_push_stays_and_later_ones_lead_to_it(tmp_path):
    logs, path = tmp_path / "logs", tmp_path / "report.html"
    logs.mkdir()
    ends = [("20260101T000000Z", summary()), ("20260102T030405Z", summary(outcome="skipped", pushed=None))]
    for stamp, found in ends:
        write_report(found, history(*falling(6)), "penguins", path, rules=RULES, log=logs / f"{stamp}.log")
    assert sorted(child.name for child in logs.iterdir()) == [
        "20260101T000000Z-pushed.html",
        "20260102T030405Z-skipped.html",
    ]
    newest, copy = Page(path.read_text()), Page((logs / "20260102T030405Z-skipped.html").read_text())
    assert (
        "The run of 2026-01-02 03:04:05 UTC: its log; the report of the last run that pushed a model." in newest.words
    )
    assert [a["href"] for a in newest.all("a") if "href" in a] == [
        "logs/20260102T030405Z.log",
        "logs/20260101T000000Z-pushed.html",
    ]
    assert [a["href"] for a in copy.all("a") if "href" in a] == [
        "20260102T030405Z.log",
        "20260101T000000Z-pushed.html",
    ]
    first = Page((logs / "20260101T000000Z-pushed.html").read_text())
    assert [a["href"] for a in first.all("a") if "href" in a] == ["20260101T000000Z.log"]


def test_a_report_that_cannot_be_replaced_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_report(summary(), History((), ()), "penguins", path)
    assert [(child.name, child.read_text()) for child in tmp_path.iterdir()] == [("report.html", "old")]


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    from types import SimpleNamespace

    from gated_pipelines.running.local import _report

    found = summary()
    places = SimpleNamespace(report=tmp_path / "nowhere" / "report.html")
    job = SimpleNamespace(places=places, config=SimpleNamespace(name="penguins"), rules=RULES)
    with caplog.at_level(logging.WARNING):
        _report(job, found, History((), ()), None, tmp_path / "nowhere" / "logs" / "a.log")
    assert found.report is None
    assert found.outcome == "pushed"
    assert "report.html could not be written: FileNotFoundError" in caplog.text


def curves(metric, trained, rules=RULES):
    panel = next(panel for panel in panels(trained.entries, rules) if panel.metric == metric)
    return panel, {curve.words: curve for curve in panel.curves}


def test_limits_stand_at_the_epochs_where_they_held():
    _, found = curves("val_loss", history(*falling(6)))
    schedule = found["gate: at most 0.9 → 0.5 over 4 epochs"]
    assert schedule.xs == (1, 2, 3, 4, 5, 6)
    assert schedule.ys == pytest.approx((0.9, 0.8, 0.7, 0.6, 0.5, 0.5))
    assert found["filter: at most 0.45"].ys == (0.45,) * 6
    assert found["mean of the last 2"].ys[1:3] == pytest.approx((0.825, 0.4583333333333333))


def test_the_bar_to_beat_is_the_best_saved_before_less_the_margin():
    trained = history(*({"loss": 0.5, "val_loss": value} for value in (0.9, 0.5, 0.495, 0.3, math.nan, 0.4)))
    assert [entry.decision.save for entry in trained.entries] == [False, True, False, True, False, False]
    _, found = curves("val_loss", trained)
    bar = found["gate: below the best saved by more than 0.01"].ys
    assert bar[2:] == pytest.approx((0.49, 0.49, 0.29, 0.29))
    assert all(map(math.isnan, bar[:2]))


def test_a_refusal_is_marked_at_the_metric_that_caused_it():
    trained = history({"loss": 0.7, "val_loss": 0.5}, {"loss": 0.5, "val_loss": 0.5}, {"loss": 0.5, "val_loss": 0.6})
    fates = {m: [p.fate for p in curves(m, trained)[0].points] for m in ("loss", "val_loss")}
    assert fates == {
        "loss": ["refused by this metric", "saved", "refused for another reason"],
        # val_loss refused at the first epoch too: its mean had one value of two
        "val_loss": ["refused by this metric", "saved", "refused by this metric"],
    }


def test_a_limit_of_one_metric_is_not_taken_for_that_of_a_longer_name():
    rules = parse_rules("save: {all: [{metric: loss, at_most: 0.5}, {metric: val_loss, at_most: 0.5}]}")
    trained = history({"loss": 0.1, "val_loss": 0.9}, rules=rules)
    assert [p.fate for p in curves("loss", trained, rules)[0].points] == ["refused for another reason"]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("{any: [{metric: loss, at_most: 1}, {every: 5}]}", "gate: one of several: at most 1"),
        ("{any: [{metric: loss, at_most: 1}]}", "gate: at most 1"),
        ("{not: {metric: loss, at_least: 1}}", "gate: not: at least 1"),
        ("{metric: loss, improves: max}", "gate: above the best saved"),
        ("{metric: loss, exponential_average: 2, at_most: 1}", "gate: at most 1 (exponential average of span 2)"),
    ],
)
def test_the_legend_tells_the_place_of_a_limit_in_the_rules(rules, words):
    rules = parse_rules(f"save: {rules}")
    assert words in curves("loss", history({"loss": 1.5}, {"loss": 0.5}, {"loss": 2.0}, rules=rules), rules)[1]


def test_records_within_epochs_run_over_steps_and_never_mix_with_those_at_their_end():
    rules = parse_rules("save: {metric: loss, moving_average: 2, at_most: 0.5}")
    within = history(*({"loss": value} for value in (0.9, 0.7, 0.5)), rules=rules, at="step").entries
    ends = history({"loss": 0.6}, {"loss": 0.4}, rules=rules).entries
    found = curves("loss", History((*within, *ends), ()), rules)[1]
    assert found["value within epochs"].xs == (10, 20, 30)
    assert found["mean of the last 2 within epochs"].ys[1:] == pytest.approx((0.8, 0.6))
    assert found["mean of the last 2"].ys[1:] == pytest.approx((0.5,))


@pytest.mark.parametrize(
    ("champion", "drawn"),
    [
        pytest.param({"val_loss": 0.4}, True, id="with its number"),
        pytest.param(None, False, id="not at all while there is none"),
    ],
)
def test_a_limit_that_is_relative_to_the_champion_is_drawn(champion, drawn):
    text = "save: {metric: val_loss, at_most: {champion: val_loss, times: 1.5}}"
    rules = parse_rules(text).resolved(champion)
    (panel,) = panels(history(*falling(6)).entries, rules)
    limits = [curve.ys for curve in panel.curves if curve.kind == "gate"]
    assert limits == ([pytest.approx((0.6,) * 6)] if drawn else [])
