"""Limits that are relative to the champion: resolved, written, and as strict as the number that they stand for."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner
from faults.papers import origin_of, papers_of, pushed_papers, write_version
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from checkpoint_gate.cli import cli
from checkpoint_gate.errors import RuleError
from checkpoint_gate.pushed import known_champion
from checkpoint_gate.pushed.known_champion import KnownChampion, look_up, recorded, resolved_for
from checkpoint_gate.pushed.papers import Origin
from checkpoint_gate.rule_text.rule_set import RuleSet, parse_rules
from checkpoint_gate.rules.averages import ExponentialAverage, MovingAverage
from checkpoint_gate.rules.conditions import All, Any, ChampionLimit, Every, Not, Threshold
from checkpoint_gate.rules.gate import Gate
from checkpoint_gate.rules.records import Record
from checkpoint_gate.store import Store
from checkpoint_gate.training.gated_training import GatedTraining

RELATIVE = "{metric: val_loss, at_most: {champion: val_loss, times: 1.05}}"


def epochs(*values):
    return [Record(i + 1, i, {"val_loss": value}) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("{champion: val_loss}", ChampionLimit("val_loss"), id="the champion's number itself"),
        pytest.param("{champion: a, times: 2, plus: -1}", ChampionLimit("a", 2.0, -1.0), id="times and plus"),
        pytest.param("{champion: a, is: 0.45}", ChampionLimit("a", champion=0.45), id="resolved"),
        pytest.param("{champion: a, is: null}", ChampionLimit("a", champion=None), id="resolved without a champion"),
    ],
)
@pytest.mark.parametrize("side", ["at_most", "at_least"])
@pytest.mark.parametrize("section", ["save", "filter"])
def test_a_text_is_read_and_written_back(text, limit, side, section):
    rules = parse_rules(f"{section}: {{metric: x, moving_average: 2, {side}: {text}}}")
    assert getattr(rules, section).rule == Threshold("x", average=MovingAverage(2), **{side: limit})
    assert parse_rules(rules.to_json()) == rules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{champion: a, times: 0}", "times must be above 0. Received: times=0", id="times nothing"),
        pytest.param("{champion: a, times: .inf}", "times must be a finite number", id="times without end"),
        pytest.param("{champion: ''}", "champion must be a name", id="no name"),
        pytest.param("{champion: a, from: 1}", "from is not a known key here", id="a schedule besides"),
        pytest.param("{champion: a, is: none}", "is must be a finite number", id="a champion in words"),
        pytest.param("{champion: a, times: 2, is: 1e308}", "must be a finite number. Received: inf", id="too large"),
    ],
)
def test_what_is_no_limit_is_refused_with_its_line(text, words):
    with pytest.raises(RuleError, match="rules.*line 1.*" + words.replace(".", r"\.")):
        parse_rules(f"save: {{metric: x, at_most: {text}}}")


RULE = Threshold("x", at_most=ChampionLimit("val_loss", 1.05))


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda rule: rule, id="alone"),
        pytest.param(lambda rule: All((Every(1), rule)), id="in all"),
        pytest.param(lambda rule: Any((Every(1), rule)), id="in any"),
        pytest.param(lambda rule: Not(Not(rule)), id="in not"),
        pytest.param(lambda rule: All((Any((Not(rule), Every(2))),)), id="deep"),
    ],
)
def test_every_limit_of_a_rule_is_resolved_once(wrap):
    rules = RuleSet(save=Gate(wrap(RULE), after=2))
    assert rules.unresolved == ("val_loss",)
    first = rules.resolved({"val_loss": 0.4, "loss": 0.1})
    assert first.unresolved == ()
    assert first == RuleSet(save=Gate(wrap(Threshold("x", at_most=ChampionLimit("val_loss", 1.05, 0, 0.4))), after=2))
    assert first.resolved({"val_loss": 0.3}) == first.resolved(None) == first
    assert first.digest() != rules.digest() != rules.resolved(None).digest()


def test_both_sections_are_resolved_and_the_others_stay():
    text = f"save: {RELATIVE}\nfilter: {RELATIVE}\nkeep: {{last: 2}}\nprune: {{grace: 1h}}"
    rules = parse_rules(text).resolved({"val_loss": 0.5})
    assert rules.save.rule == rules.filter.rule == Threshold("val_loss", ChampionLimit("val_loss", 1.05, 0, 0.5))
    assert (rules.keep, rules.prune) == (parse_rules(text).keep, parse_rules(text).prune)


def test_a_metric_that_the_champion_lacks_is_an_error_that_lists_what_it_has():
    with pytest.raises(RuleError, match=r"champion's 'val_loss', which it does not have\. It has: loss, mae\."):
        parse_rules(f"save: {RELATIVE}").resolved({"mae": 1.0, "loss": 1.0})


def test_a_champions_number_that_is_not_finite_is_an_error():
    with pytest.raises(RuleError, match=r"The champion's val_loss must be a finite number\. Received: nan"):
        parse_rules(f"save: {RELATIVE}").resolved({"val_loss": math.nan})


def test_unresolved_nothing_passes_by_it_and_not_turns_nothing_round():
    for text in (RELATIVE, f"{{not: {RELATIVE}}}"):
        decision = parse_rules(f"save: {text}").save.decide(epochs(0.1))
        assert (decision.save, decision.reason) == (False, "the champion's val_loss was not looked up")
    (verdict,) = parse_rules(f"filter: {RELATIVE}").filter.replay(epochs(0.1))
    assert (verdict.outcome, verdict.reason) == ("reject", "the champion's val_loss was not looked up")


def test_training_does_not_begin_unresolved(tmp_path):
    with pytest.raises(RuleError, match=r"needs the champion's val_loss.*RuleSet\.resolved"):
        GatedTraining(Store(tmp_path / "store"), parse_rules(f"save: {RELATIVE}"), "run")
    assert not (tmp_path / "store").exists()


numbers = st.floats(-100, 100).filter(lambda x: x == 0 or abs(x) > 1e-6)


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(numbers | st.just(math.nan), min_size=1, max_size=12),
    champion=numbers,
    times=st.floats(0.01, 10),
    plus=numbers,
    side=st.sampled_from(["at_most", "at_least"]),
    average=st.sampled_from([None, MovingAverage(3), ExponentialAverage(2)]),
)
def test_a_resolved_limit_decides_as_the_plain_number_does(values, champion, times, plus, side, average):
    number = times * champion + plus
    assume(math.isfinite(number))
    relative = RuleSet(
        save=Gate(Threshold("val_loss", average=average, **{side: ChampionLimit("x", times, plus)}))
    ).resolved({"x": champion})
    plain = Gate(Threshold("val_loss", average=average, **{side: number}))
    again = parse_rules(relative.to_json())
    assert again == relative
    for gate in (relative.save, again.save):
        ours, theirs = gate.replay(epochs(*values)), plain.replay(epochs(*values))
        assert [(d.save, d.shortfall) for d in ours] == [(d.save, d.shortfall) for d in theirs]


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=12))
def test_without_a_champion_every_finite_value_passes_and_no_other(values):
    gate = parse_rules(f"save: {RELATIVE}").resolved(None).save
    assert [d.save for d in gate.replay(epochs(*values))] == [math.isfinite(value) for value in values]


# Which champion there is.


def test_the_newest_live_version_is_looked_up(tmp_path):
    assert look_up(str(tmp_path / "serving")) is None
    write_version(tmp_path, 5, "old", pushed_papers(5, "old", origins=[origin(val_loss=0.9)]))
    write_version(tmp_path, 7, "new", pushed_papers(7, "new", origins=[origin(val_loss=0.45, loss="nan")]))
    found = look_up(str(tmp_path))
    assert (found.version, found.weights, found.metrics["val_loss"]) == (7, "new", 0.45)
    assert math.isnan(found.metrics["loss"])


def origin(step=20, **metrics):
    return Origin(**origin_of(step).model_dump() | {"metrics": metrics})


def test_of_an_average_the_means_of_the_metrics_that_all_have(tmp_path):
    origins = [origin(10, val_loss=0.4, loss=0.2), origin(20, val_loss=0.6, mae=1.0)]
    write_version(tmp_path, 7, "w", pushed_papers(7, "w", origins=origins))
    assert look_up(str(tmp_path)).metrics == {"val_loss": 0.5}


@pytest.mark.parametrize(
    ("papers", "words"),
    [
        pytest.param(None, "carries no papers", id="none"),
        pytest.param("damaged", "cannot be read", id="damaged"),
        pytest.param(papers_of(origins=[]), "carries no papers", id="of no record"),
    ],
)
def test_a_champion_without_papers_is_warned_of_and_counts_as_none(tmp_path, caplog, papers, words):
    model = write_version(tmp_path, 7, "w", papers if papers != "damaged" else "pushed")
    if papers == "damaged":
        (model / "assets.extra" / "checkpoint_gate.json").write_text("{")
    assert look_up(str(tmp_path)) == KnownChampion(7)
    assert words in caplog.text
    assert "for the rules there is no champion" in caplog.text.lower()
    assert known_champion.metrics_of(KnownChampion(7)) is None


# What a run remembers.


def begun(store, key, champion):
    about = {"champion": champion.to_json() if champion is not None else None} if champion != "unknown" else {}
    return store.start(key, **about)


@pytest.mark.parametrize(
    "champion",
    [None, KnownChampion(7), KnownChampion(7, "w", {"val_loss": 0.45, "loss": math.inf})],
    ids=["no champion", "one without papers", "one with metrics"],
)
def test_a_run_remembers_the_champion_it_began_under(tmp_path, champion):
    assert recorded(begun(Store(tmp_path), "run", champion)) == champion


def test_the_filter_judges_by_the_champion_that_the_run_began_under(tmp_path):
    rules, store = parse_rules(f"filter: {RELATIVE}"), Store(tmp_path)
    old = begun(store, "old", KnownChampion(7, "w", {"val_loss": 0.4}))
    same = begun(store, "same", KnownChampion(9, "x", {"val_loss": 0.4, "loss": 1.0}))
    other = begun(store, "other", KnownChampion(8, "w", {"val_loss": 0.5}))
    unknown = begun(store, "unknown", "unknown")
    assert resolved_for(rules, [old, same]) == rules.resolved({"val_loss": 0.4})
    with pytest.raises(RuleError, match=r"champions of equal metrics\. Received: old, other\."):
        resolved_for(rules, [old, other])
    with pytest.raises(RuleError, match="training run unknown does not record which one it began under"):
        resolved_for(rules, [unknown])
    plain = parse_rules("filter: {every: 1}")
    assert resolved_for(plain, [unknown]) is plain


# `checkpoint-gate replay`.


@pytest.fixture
def replay(tmp_path):
    def call(text, *args):
        (tmp_path / "rules.yaml").write_text(text)
        lines = [json.dumps({"step": r.step, "epoch": r.epoch, "metrics": dict(r.metrics)}) for r in epochs(0.4, 0.5)]
        (tmp_path / "history.jsonl").write_text("\n".join(lines) + "\n")
        given = ["--rules", str(tmp_path / "rules.yaml"), "--history", str(tmp_path / "history.jsonl"), "--json", *args]
        return CliRunner().invoke(cli, ["replay", *given])

    return call


@pytest.mark.parametrize(
    ("text", "args", "saved"),
    [
        pytest.param(RELATIVE, [], [False, False], id="unresolved: nothing"),
        pytest.param(RELATIVE, ["--champion", "val_loss=0.4"], [True, False], id="by the number that is given"),
        pytest.param(RELATIVE.replace("1.05", "1.05, is: 0.4"), [], [True, False], id="by the number in the text"),
        pytest.param(RELATIVE.replace("1.05", "1.05, is: null"), [], [True, True], id="no champion, as the text says"),
    ],
)
def test_replay_goes_by_the_champions_number(replay, text, args, saved):
    done = replay(f"save: {text}", *args)
    assert [json.loads(line)["save"] for line in done.stdout.splitlines()] == saved


@pytest.mark.parametrize("given", ["val_loss", "=0.4", "val_loss=much"])
def test_replay_refuses_what_is_no_number_of_a_champion(replay, given):
    done = replay(f"save: {RELATIVE}", "--champion", given)
    assert done.exit_code == 2
    assert f"must be METRIC=NUMBER, such as val_loss=0.45. Received: {given}." in done.output


def test_a_ledger_tells_the_number_and_is_replayed_by_it(tmp_path):
    rules = parse_rules(f"save: {RELATIVE}").resolved({"val_loss": 0.4})
    training = GatedTraining(Store(tmp_path / "store"), rules, "run", {"champion": None})
    training.begin(2)
    for record in epochs(0.4, 0.5):
        training.note(record, training.observe(record))
    training.finish(2)
    ledger = tmp_path / "store" / "run" / "ledger.jsonl"
    assert '"is":0.4' in ledger.read_text().replace(" ", "")
    done = CliRunner().invoke(cli, ["replay", "--history", str(ledger)])
    assert done.exit_code == 0
    assert "The same as recorded, all 2" in done.output
