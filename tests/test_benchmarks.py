"""How benchmarks are told: their lines, the table of them, and the page of the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "components" / "docs" / "speed.md"
NAMED = {
    *("save_stall_1mb", "save_stall_50mb", "save_stall_400mb", "save_lost_time_50mb", "save_sync_50mb"),
    *("restore_400mb", "evaluate_k10", "evaluate_k10_intervals", "evaluate_k20_slice", "open_store_10k"),
    "pipeline_vs_stock",
}


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(row) for row in (folder / "lines.jsonl").read_text().splitlines()]


def test_the_sides_take_turns():
    from compared.sides import in_turn

    order = []
    sides = {name: lambda number, name=name: order.append(f"{name}{number}") or number for name in "ab"}
    assert in_turn(3, sides) == {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_a_line_holds_medians_and_the_ratio_of_each_round():
    from compared.sides import line

    assert json.loads(line("x", "s", [1.0, 3.0, 2.0], [4.0, 4.0, 5.0], why="so")) == {
        "name": "x",
        "ours": 2.0,
        "peer": 4.0,
        "ratio": 0.5,
        "unit": "s",
        "n": 3,
        "min": 0.25,
        "max": 0.75,
        "detail": {"runs": {"ours": [1.0, 3.0, 2.0], "peer": [4.0, 4.0, 5.0]}, "why": "so"},
    }


def a_line(name: str, ours: float, peer: float, **detail: object) -> dict:
    from compared.sides import line

    return json.loads(line(name, "s", [ours], [peer], **detail))


@pytest.mark.parametrize(
    ("name", "ours", "goal"),
    [
        pytest.param("evaluate_k10", 0.6, "≤ 0.6 ×", id="a ratio that is reached"),
        pytest.param("evaluate_k10", 0.61, "**missed: ≤ 0.6 ×**", id="a ratio that is not"),
        pytest.param("cli_help", 0.3, "≤ 0.3 s", id="a value that is reached"),
        pytest.param("cli_help", 0.31, "**missed: ≤ 0.3 s**", id="a value that is not"),
        pytest.param("something_new", 9.0, "–", id="no goal"),
    ],
)
def test_the_table_says_which_goals_are_missed(name, ours, goal):
    from compared.report import table

    row = table([a_line(name, ours, 1.0)]).splitlines()[-1]
    assert row.startswith(f"| `{name}`: ")
    assert row.endswith(f"| s | {ours:g} | 1 | {ours:g} ({ours:g}–{ours:g}) | {goal} |")


def test_what_has_a_curve_is_drawn_and_no_row(tmp_path):
    from compared.report import curves, table

    curve = {"over": "megabytes", "ours": [[1, 0.5], [10, 4.0]], "peer": [[1, 1.0], [10, 9.0]]}
    lines = [a_line("growth_x", 4.0, 9.0, curve=curve), a_line("cli_help", 0.1, 0.1)]
    assert "growth_x" not in table(lines)
    assert curves(lines, tmp_path) == [tmp_path / "growth_x.svg"]
    drawn = (tmp_path / "growth_x.svg").read_text()
    assert ">megabytes<" in drawn
    curves(lines, tmp_path)
    assert (tmp_path / "growth_x.svg").read_text() == drawn


def test_what_was_not_measured_again_stays_and_lines_stand_in_the_order_of_the_goals(tmp_path):
    from run import in_order, kept

    assert kept(tmp_path, []) == []
    before = [a_line("cli_help", 0.1, 0.1), a_line("growth_x", 1.0, 1.0), a_line("evaluate_k10", 1.0, 4.0)]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in before))
    new = [a_line("cli_help", 0.2, 0.1)]
    lines = in_order([*kept(tmp_path, new), *new])
    assert [(line["name"], line["ours"]) for line in lines] == [
        ("evaluate_k10", 1.0),
        ("cli_help", 0.2),
        ("growth_x", 1.0),
    ]


def test_the_page_is_brought_up_to_date_between_its_marks(tmp_path):
    from compared.report import renew

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\n<!-- end -->\nafter\n")
    for words in ("old\n", "new\n", "new\n"):
        renew(page, words)
    assert page.read_text() == "before\n<!-- measured -->\n\nnew\n\n<!-- end -->\nafter\n"


def test_the_page_shows_what_was_measured():
    from compared.report import machine_words, table

    folder = PAGE.with_suffix("")
    lines = lines_of(folder)
    text = PAGE.read_text()
    assert {line["name"] for line in lines} >= NAMED
    assert not any(line["detail"].get("quick") for line in lines)
    assert machine_words(json.loads((folder / "machine.json").read_text())) in text
    assert table(lines) in text
    assert set(re.findall(r"\(speed/(\w+)\.svg\)", text)) == {x["name"] for x in lines if "curve" in x["detail"]}
