"""The pipeline.yaml that is written for a table nobody has described."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rule_text.located_yaml import read_located
from checkpoint_gate.rule_text.rule_set import read_rules
from gated_pipelines.cli import cli
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.tables.scaffold import infer_task, quoted, write_pipeline
from gated_pipelines.tables.staging import stage_table

PENGUINS = Path(__file__).parent.parent / "data" / "penguins" / "penguins.csv"


@pytest.fixture
def table(tmp_path):
    """Writes a frame or text as `t.csv` and returns its path."""

    def table(content):
        path = tmp_path / "t.csv"
        path.write_text(content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content, encoding="utf-8")
        return path

    return table


def small(label="y", more="", values="ab"):
    lines = [f"{i}.5,{values[i % len(values)]}{',' + str(i) + '.5' if more else ''}" for i in range(40)]
    return "\n".join([f"x,{label}{',' + more if more else ''}", *lines])


@pytest.mark.parametrize(
    ("load", "task"),
    [
        pytest.param(datasets.load_diabetes, "regression", id="diabetes"),
        pytest.param(datasets.load_breast_cancer, "binary", id="breast cancer"),
        pytest.param(datasets.load_wine, "multiclass", id="wine"),
        pytest.param(datasets.load_iris, "multiclass", id="iris"),
        pytest.param(datasets.load_digits, "multiclass", id="digits"),
        pytest.param(datasets.load_linnerud, "regression", id="linnerud, with three targets"),
    ],
)
def test_real_tables_load_and_stage(table, tmp_path, load, task):
    frame = load(as_frame=True).frame
    label = frame.columns[-1]
    path = write_pipeline(table(frame), label, tmp_path / "new")
    config = load_config(path)
    assert (config.task, config.label, config.name) == (task, label, "new")
    staged = stage_table(config, tmp_path / "staged")
    assert staged.features.numeric == config.features.numeric
    assert staged.rows == len(frame)
    rules = read_rules(config.located, ("rules",))
    assert None not in (rules.save, rules.keep, rules.filter, rules.prune)


def test_penguins_have_strings_and_missing_values(tmp_path):
    config = load_config(write_pipeline(PENGUINS, "species", tmp_path / "new"))
    assert config.csv == PENGUINS
    assert config.task == "multiclass"
    assert config.features.categorical == ("island", "sex")
    assert config.features.numeric[:2] == ("bill_length_mm", "bill_depth_mm")


def test_california_sized_tables_get_a_larger_model(table, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=5000), "y": rng.normal(size=5000)})
    config = load_config(write_pipeline(table(frame), "y", tmp_path))
    assert config.model.hidden == (32, 16)
    assert (config.train.epochs, config.train.batch_size) == (30, 64)


@pytest.mark.parametrize(
    ("label", "task"),
    [
        pytest.param(["a", "b"], "binary", id="two texts"),
        pytest.param(["a", "b", "c"], "multiclass", id="three texts"),
        pytest.param([True, False], "binary", id="booleans"),
        pytest.param([0, 1], "binary", id="two whole numbers"),
        pytest.param([0.0, 1.0, None], "binary", id="two whole numbers and a missing one"),
        pytest.param(list(range(20)) * 5, "multiclass", id="20 whole numbers"),
        pytest.param(list(range(21)) * 5, "regression", id="21 whole numbers"),
        pytest.param([1, 2, 3] * 4, "regression", id="whole numbers of few rows each"),
        pytest.param([0.5, 1.5], "regression", id="decimals"),
    ],
)
def test_the_task_is_inferred(label, task):
    assert infer_task(pd.Series(label)) == task


def test_thresholds_of_a_classification_come_from_the_entropy_of_its_classes(table, tmp_path):
    config = load_config(write_pipeline(table(small(values="aaab")), "y", tmp_path))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    first, second, third, fourth = config.rules.save["all"]
    assert first == {"metric": "loss", "at_most": pytest.approx(entropy, rel=0.01)}
    assert second["at_most"]["from"] == pytest.approx(1.2 * entropy, rel=0.01)
    assert second["at_most"]["to"] == pytest.approx(0.9 * entropy, rel=0.01)
    assert second["at_most"]["epochs"] == config.train.epochs / 2
    assert third == {"metric": "loss", "moving_average": 3, "at_most": pytest.approx(entropy, rel=0.01)}
    assert fourth == {"metric": "val_loss", "improves": "min"}
    assert config.rules.filter["all"][0]["at_most"] == pytest.approx(1.2 * entropy, rel=0.01)
    assert config.positive == "b"


def test_thresholds_of_a_regression_come_from_the_variance_of_its_label(table, tmp_path):
    frame = datasets.load_diabetes(as_frame=True).frame
    config = load_config(write_pipeline(table(frame), "target", tmp_path))
    variance = frame.target.var(ddof=0)
    first, second, third, _ = config.rules.save["all"]
    for rule in (first, second):
        assert rule["at_most"]["from"] == pytest.approx(1.5 * variance, rel=0.01)
        assert rule["at_most"]["to"] == pytest.approx(variance, rel=0.01)
    assert third["at_most"] == pytest.approx(1.2 * variance, rel=0.01)
    assert config.rules.filter["all"][0]["at_most"] == pytest.approx(variance, rel=0.01)
    assert config.evaluate.thresholds[0].at_most == pytest.approx(variance, rel=0.01)
    assert f"an error (RMSE) of {frame.target.std(ddof=0):.3g} in the label's unit." in config.path.read_text()


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e5, 1e12])
def test_labels_of_any_size_give_numbers_that_yaml_reads(table, tmp_path, scale):
    frame = pd.DataFrame({"x": np.arange(50) / 7, "y": np.arange(50) / 3 * scale})
    config = load_config(write_pipeline(table(frame), "y", tmp_path))
    assert config.rules.filter["all"][0]["at_most"] == pytest.approx(frame.y.var(ddof=0), rel=0.01)


def test_what_is_ignored_is_named_with_its_reason(table, tmp_path):
    lines = [f"{i},n{i},2024-01-{i % 28 + 1:02d},k,{i % 7}.5,{i % 3}" for i in range(60)]
    text = write_pipeline(table("id,name,day,same,x,y\n" + "\n".join(lines)), "y", tmp_path).read_text()
    assert (
        "  numeric: [x]\n"
        "  categorical: []\n"
        "  # Not used:\n"
        "  #   id: it numbers the rows\n"
        "  #   name: nearly every row has a text of its own, as names and ids have\n"
        "  #   day: it holds dates or times\n"
        "  #   same: it is the same in every row\n"
    ) in text


def test_the_command_says_what_it_found(table, tmp_path):
    lines = [f"{i},{'rb'[i % 2]},k,{i % 7}.5,{i % 3}" for i in range(60)]
    csv = table("id,colour,same,x,y\n" + "\n".join(lines))
    result = CliRunner().invoke(cli, ["new", str(tmp_path / "mine"), "--data", str(csv), "--label", "y"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:-1] == [
        "task: multiclass, 60 rows",
        "numeric: x",
        "categorical: colour",
        "left out: id: it numbers the rows",
        "left out: same: it is the same in every row",
    ]
    assert result.stdout.splitlines()[-1].startswith(f"Wrote {tmp_path}/mine/pipeline.yaml. Run it with: ")


@pytest.mark.parametrize(
    "name",
    [
        "no",
        "1",
        "a: b",
        "# c",
        "[x]",
        "{y}",
        "- z",
        "'q'",
        "é",
        "a\tb",
        "null",
        "~",
        "*a",
        "&b",
        "!t",
        "😀",
        "%",
        "@",
        "1e5",
    ],
)
def test_any_column_name_is_written_so_that_it_is_read_back(table, tmp_path, name):
    config = load_config(write_pipeline(table(small(more=name)), "y", tmp_path / "one"))
    assert config.features.numeric == ("x", name)
    config = load_config(write_pipeline(table(small(label=name)), name, tmp_path / "two"))
    assert config.label == name


@given(st.text(min_size=1))
def test_quoted_reads_as_the_same_text(text):
    assert read_located(f"[{quoted(text)}]", "t").data == [text]


def test_many_columns_stand_on_lines_of_at_most_110_characters(table, tmp_path):
    frame = datasets.load_breast_cancer(as_frame=True).frame
    path = write_pipeline(table(frame), "target", tmp_path)
    assert max(map(len, path.read_text().splitlines())) <= 110
    assert load_config(path).features.numeric == tuple(frame.columns[:-1])


def test_the_file_has_no_trailing_spaces_and_no_gaps(tmp_path):
    text = write_pipeline(PENGUINS, "species", tmp_path / "new").read_text()
    assert not re.search(r"[ \t]+\n|\n\n\n", text)


@pytest.mark.parametrize(
    ("folder", "csv"),
    [
        pytest.param("a", "../t.csv", id="one folder below"),
        pytest.param("a/b", "../../t.csv", id="two folders below"),
        pytest.param("a/b/c", "{root}/t.csv", id="far away"),
        pytest.param(".", "t.csv", id="beside"),
    ],
)
def test_the_csv_is_named_from_where_the_file_is(table, tmp_path, folder, csv):
    config = load_config(write_pipeline(table(small()), "y", tmp_path / folder))
    assert config.data.csv == csv.format(root=tmp_path)
    assert config.csv.is_file()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param("My Table_2", "my-table-2", id="other characters"),
        pytest.param("2024", "table-2024", id="begins with a digit"),
        pytest.param("é", "table", id="no letter of a-z"),
        pytest.param("x" * 60, "x" * 40, id="too long"),
    ],
)
def test_the_pipeline_is_named_after_the_folder(table, tmp_path, folder, name):
    assert load_config(write_pipeline(table(small()), "y", tmp_path / folder)).name == name


def test_nothing_is_overwritten(table, tmp_path):
    path = write_pipeline(table(small()), "y", tmp_path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"pipeline.yaml is there already and stays as it is; remove it, or choose"):
        write_pipeline(tmp_path / "t.csv", "y", tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "label", "task", "message"),
    [
        pytest.param(
            small(label="species"),
            "specie",
            None,
            "The label 'specie' is no column of {csv} (did you mean 'species'?); its columns are 'x', 'species'.",
            id="unknown label",
        ),
        pytest.param(small(values="a"), "y", None, "has one class, 'a', in every row", id="one class"),
        pytest.param(
            small(),
            "y",
            "classify",
            "The task 'classify' is not known; it must be one of",
            id="unknown task",
        ),
        pytest.param(
            small(),
            "y",
            "regression",
            "the label 'y' must be a number for task: regression; row 1 has",
            id="no number",
        ),
        pytest.param("x,y\n1,a\n2,b\n", "y", None, "has 2 rows with a y; at least 20 are needed", id="too few rows"),
        pytest.param("x;y\n1;2\n", "y", None, "seems to be separated by semicolons", id="semicolons"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(table, tmp_path, content, label, task, message):
    csv = table(content)
    with pytest.raises(ConfigError) as caught:
        write_pipeline(csv, label, tmp_path / "new", task)
    assert message.format(csv=csv) in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made(table, tmp_path):
    (tmp_path / "new").write_text("a file")
    with pytest.raises(ConfigError, match=r"new/pipeline.yaml cannot be written: "):
        write_pipeline(table(small()), "y", tmp_path / "new")
