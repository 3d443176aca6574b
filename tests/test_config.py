"""What load_config reads from a pipeline.yaml, and what it says when it cannot."""

import re
from pathlib import Path

import pytest

from checkpoint_gate.errors import ConfigError
from checkpoint_gate.rule_text.rule_set import read_rules
from checkpoint_gate.rules.retention import Keep
from gated_pipelines.config.pipeline_config import load_config
from gated_pipelines.config.tfma_names import KNOWN, snake_case

PENGUINS = Path(__file__).parent.parent / "data" / "penguins" / "pipeline.yaml"

LEAST = """\
name: a
data: {csv: a.csv}
label: y
task: multiclass
rules: {save: {metric: loss, at_most: 1}, filter: {metric: loss, at_most: 1}}
"""


@pytest.fixture
def load(tmp_path):
    """Loads a text as the file `pipeline.yaml` of an empty folder."""

    def load(text):
        path = tmp_path / "pipeline.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path)

    return load


@pytest.fixture
def refusal(load, tmp_path):
    """The sentence that refuses a text, with the folder's name taken out."""

    def refusal(text):
        with pytest.raises(ConfigError) as caught:
            load(text)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return refusal


def test_the_least_takes_the_defaults(load):
    config = load(LEAST)
    assert config.data.splits.model_dump() == {"train": 3, "eval": 1, "test": 1}
    assert config.features is None
    assert config.positive is None
    assert config.model.model_dump() == {"hidden": (32, 16), "dropout": 0.0, "learning_rate": 0.005}
    assert config.train.model_dump() == {"epochs": 40, "batch_size": 32, "seed": 7, "warm_start": None}
    assert config.evaluate.champion.against == "last"
    assert config.rules.keep is None
    assert config.rules.prune is None
    assert config.push.folder == "serving"
    assert config.on_no_survivors == "fail"
    assert config.on_no_candidate == "fail"
    assert config.on_not_blessed == "keep_champion"
    assert config.evaluate.first_run == "refuse"


@pytest.mark.parametrize(
    ("task", "metrics", "metric"),
    [
        pytest.param(
            "multiclass",
            ("ExampleCount", "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy"),
            "sparse_categorical_crossentropy",
            id="multiclass",
        ),
        pytest.param(
            "binary",
            ("ExampleCount", "BinaryAccuracy", "BinaryCrossentropy", "AUC"),
            "binary_crossentropy",
            id="binary",
        ),
        pytest.param(
            "regression",
            ("ExampleCount", "MeanSquaredError", "MeanAbsoluteError"),
            "mean_squared_error",
            id="regression",
        ),
    ],
)
def test_evaluation_defaults_by_task(load, task, metrics, metric):
    evaluate = load(LEAST.replace("multiclass", task)).evaluate
    assert evaluate.metrics == metrics
    assert evaluate.select.model_dump() == {
        "metric": metric,
        "mode": "min",
        "ties": "latest",
        "within_noise": False,
        "worst_slice": False,
        "require": (),
        "average": False,
    }
    champion = {"metric": metric, "mode": "min", "worse_by_at_most": 0.0, "against": "last"}
    assert evaluate.champion.model_dump() == champion
    assert evaluate.slices == ()
    assert evaluate.thresholds == ()


def test_the_champion_is_compared_by_what_selects(load):
    evaluate = load(LEAST + "evaluate: {select: {metric: sparse_categorical_accuracy, mode: max}}").evaluate
    assert (evaluate.champion.metric, evaluate.champion.mode) == ("sparse_categorical_accuracy", "max")


def test_a_slice_is_a_column_or_several(load):
    config = load(LEAST + "evaluate: {slices: [island, [island, sex]]}")
    assert config.evaluate.slices == (("island",), ("island", "sex"))
    assert config.slice_columns == ("island", "sex")


def test_how_the_best_is_chosen(load):
    config = load(
        LEAST
        + """\
evaluate:
  slices: [island, [island, sex]]
  select:
    metric: sparse_categorical_accuracy
    mode: max
    ties: earliest
    within_noise: true
    worst_slice: true
    require: [{metric: sparse_categorical_accuracy, at_least: 0.8, slices: [island, [island, sex]]}]
  thresholds: [{metric: sparse_categorical_accuracy, at_least: 0.7, slices: [island]}]
on_no_candidate: keep_champion
"""
    )
    select = config.evaluate.select
    assert (select.ties, select.within_noise, select.worst_slice) == ("earliest", True, True)
    assert select.require[0].slices == (("island",), ("island", "sex"))
    assert config.evaluate.thresholds[0].slices == (("island",),)
    assert config.on_no_candidate == "keep_champion"


def test_what_the_page_on_selection_shows_is_read(load):
    page = (PENGUINS.parents[2] / "components" / "docs" / "selection.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    select = load(LEAST + shown).evaluate.select
    assert (select.worst_slice, select.within_noise, len(select.require)) == (True, True, 1)


def test_bounds_of_selection_and_of_blessing_do_not_meet(load):
    load(
        LEAST + "evaluate: {select: {metric: sparse_categorical_crossentropy, mode: min, "
        "require: [{metric: example_count, at_least: 9}]}, thresholds: [{metric: example_count, at_most: 5}]}"
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        pytest.param("1", "1", id="a number"),
        pytest.param("1.0", "1", id="a whole decimal"),
        pytest.param("true", "True", id="a boolean, as tables write it"),
        pytest.param("yes", "yes", id="a word"),
        pytest.param("-1", "-1", id="a negative number"),
    ],
)
def test_the_positive_class_is_the_text_of_its_value(load, written, text):
    assert load(LEAST.replace("multiclass", f"binary\npositive: {written}")).positive == text


def test_infer_is_the_same_as_leaving_features_out(load):
    assert load(LEAST + "features: infer").features is None


@pytest.mark.parametrize(
    ("csv", "expected"),
    [
        pytest.param("t/a.csv", "{folder}/t/a.csv", id="relative to the file"),
        pytest.param("/x/a.csv", "/x/a.csv", id="absolute"),
        pytest.param("~/a.csv", "{home}/a.csv", id="at home"),
        pytest.param("../a.csv", "{parent}/a.csv", id="the folder above"),
    ],
)
def test_the_csv_is_found_from_the_file(load, tmp_path, csv, expected):
    expected = expected.format(folder=tmp_path, home=Path.home(), parent=tmp_path.parent)
    assert str(load(LEAST.replace("a.csv", csv)).csv) == expected


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        pytest.param("serving", "/root/serving", id="below the root"),
        pytest.param("/srv/models", "/srv/models", id="absolute"),
        pytest.param("~/models", f"{Path.home()}/models", id="at home"),
        pytest.param("gs://bucket/models", "gs://bucket/models", id="a URL stays as it is"),
    ],
)
def test_the_push_folder(load, folder, expected):
    assert load(LEAST + f"push: {{folder: {folder!r}}}").push.under("/root") == expected


@pytest.mark.parametrize(
    ("push", "keep", "grace"),
    [
        pytest.param("{}", None, 86400.0, id="all stay if nothing is said"),
        pytest.param("{keep: {last: 5}}", Keep(last=5), 86400.0, id="the newest"),
        pytest.param("{keep: {within: 30d}, grace: 90s}", Keep(within=30 * 86400.0), 90.0, id="by age"),
        pytest.param("{keep: {last: 1, within: 2h}, grace: 0s}", Keep(last=1, within=7200.0), 0.0, id="a union"),
    ],
)
def test_which_pushed_versions_stay(load, push, keep, grace):
    said = load(LEAST + f"push: {push}").push
    assert (said.retention, said.grace) == (keep, grace)


@pytest.mark.parametrize(
    ("push", "message"),
    [
        pytest.param("{keep: {}}", "push.keep must have at least one of last and within", id="an empty rule"),
        pytest.param("{keep: {last: 0}}", "push.keep.last must be greater than or equal to 1, received 0", id="none"),
        pytest.param(
            "{keep: {last: 5.0}}", "push.keep.last must be a whole number, received 5.0", id="no whole number"
        ),
        pytest.param(
            "{keep: {within: 30}}",
            'push.keep.within must be a time such as "90s", "15m", "24h" or "2d". Received: \'30\'',
            id="a number without a unit",
        ),
        pytest.param("{keep: {within: 0s}}", "push.keep must keep within a time above 0s", id="no time at all"),
        pytest.param("{grace: soon}", "push.grace must be a time such as", id="a grace that is no time"),
        pytest.param(
            "{keep: {newest: 5}}", "unknown key push.keep.newest, known are last, within", id="a key that is not known"
        ),
        pytest.param(
            "{folder: 's3://b/m', keep: {last: 5}}",
            "push must not have keep for a URL, since old versions go only from a folder on a disk, received folder "
            "'s3://b/m'",
            id="in an object store",
        ),
    ],
)
def test_a_rule_for_pushed_versions_that_is_wrong_is_said_with_its_line(refusal, push, message):
    said = refusal(LEAST + f"push: {push}")
    assert said.startswith(f"pipeline.yaml line 6: {message}")


def test_a_config_is_frozen(load):
    with pytest.raises(Exception, match="frozen"):
        load(LEAST).label = "z"


def test_where_names_the_line_of_a_key(load, tmp_path):
    assert load(LEAST).where("rules", "save", "metric") == f"{tmp_path}/pipeline.yaml line 5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            LEAST + "trian: {epochs: 3}",
            "pipeline.yaml line 6: unknown key trian (did you mean train?), known are name, data, validate, label, "
            "task, positive, features, model, train, rules, evaluate, push, disk, on_no_survivors, on_no_candidate, "
            "on_not_blessed, kubeflow.",
            id="unknown key",
        ),
        pytest.param(
            LEAST + "train: {epoch: 3}",
            "pipeline.yaml line 6: unknown key train.epoch (did you mean epochs?), known are epochs, batch_size, seed, "
            "warm_start.",
            id="unknown key in a section",
        ),
        pytest.param(
            LEAST + "train: {warm_start: best}",
            "pipeline.yaml line 6: train.warm_start must be champion, received 'best'",
            id="a warm start from something else",
        ),
        pytest.param(
            LEAST + "evaluate: {thresholds: [{metric: example_count, atleast: 1}]}",
            "unknown key evaluate.thresholds[0].atleast (did you mean at_least?), known are metric, "
            "at_least, at_most, slices",
            id="unknown key in a list",
        ),
        pytest.param(
            LEAST + "features: {numerical: [x]}",
            "unknown key features.numerical (did you mean numeric?), known are numeric, categorical",
            id="unknown key behind a choice",
        ),
        pytest.param(
            LEAST.replace("{csv: a.csv}", "\n  csv: a.csv\n  splits: {train: 3, eval: 1}"),
            "pipeline.yaml line 4: the key test of data.splits is missing.",
            id="missing key in a section",
        ),
        pytest.param(LEAST.replace("label: y\n", ""), "pipeline.yaml line 1: the key label is missing.", id="no label"),
        pytest.param(
            "name: a\ndata: {csv: a.csv}\nlabel: y\ntask: binary\n",
            "pipeline.yaml line 1: the key rules is missing.",
            id="no rules",
        ),
        pytest.param(
            LEAST.replace("save", "keep"), "pipeline.yaml line 5: the key save of rules is missing.", id="no gate"
        ),
        pytest.param(
            LEAST.replace("name: a", "name: My Table"),
            "pipeline.yaml line 1: name must begin with a small letter and hold at most 40 of a-z, 0-9 and -, "
            "received 'My Table'.",
            id="name",
        ),
        pytest.param(
            LEAST.replace("multiclass", "classification"),
            "pipeline.yaml line 4: task must be regression, binary or multiclass, received 'classification'.",
            id="task",
        ),
        pytest.param(
            LEAST.replace("multiclass", "[binary]"),
            "pipeline.yaml line 4: task must be regression, binary or multiclass, received a list.",
            id="task as a list",
        ),
        pytest.param(
            LEAST.replace("label: y", "label: 2019"),
            "pipeline.yaml line 3: label must be text, in quotes, received 2019.",
            id="a number as a label",
        ),
        pytest.param(
            LEAST + "train: {epochs: true}",
            "pipeline.yaml line 6: train.epochs must be a whole number, received true.",
            id="a boolean is no number",
        ),
        pytest.param(
            LEAST + "train: {epochs: 4.0}",
            "train.epochs must be a whole number, received 4.0.",
            id="a decimal",
        ),
        pytest.param(
            LEAST + "train:\n  seed: 1\n  epochs: 0",
            "pipeline.yaml line 8: train.epochs must be greater than or equal to 1, received 0.",
            id="no epochs",
        ),
        pytest.param(
            LEAST + 'model: {learning_rate: "0.1"}',
            "model.learning_rate must be a number, received '0.1'.",
            id="text is no number",
        ),
        pytest.param(
            LEAST + "model: {dropout: .nan}", "model.dropout must be a finite number, received nan.", id="not finite"
        ),
        pytest.param(LEAST + "model: {dropout: 1}", "model.dropout must be less than 1, received 1.", id="all dropped"),
        pytest.param(
            LEAST + "model: {hidden: [8, 0]}",
            "model.hidden[1] must be greater than or equal to 1, received 0.",
            id="an empty layer",
        ),
        pytest.param(LEAST + "model: {hidden: 8}", "model.hidden must be a list, received 8.", id="one layer, no list"),
        pytest.param(
            LEAST + "model: {hidden: [1, 1, 1, 1, 1, 1, 1, 1, 1]}",
            "model.hidden must hold at most 8 items, received a list.",
            id="too many layers",
        ),
        pytest.param(LEAST + "model:", "model must be a mapping, received nothing.", id="an empty section"),
        pytest.param(LEAST + "evaluate: x", "evaluate must be a mapping, received 'x'.", id="evaluate as a word"),
        pytest.param(
            LEAST + "features: guess",
            "pipeline.yaml line 6: features must be the word infer, or a mapping with numeric and categorical.",
            id="features",
        ),
        pytest.param(
            LEAST + "features: {}", "features must name at least one column, or be the word infer.", id="no features"
        ),
        pytest.param(
            LEAST + "features: {numeric: [x], categorical: [x]}",
            "features must name each column once, received 'x' more than once.",
            id="a column of both kinds",
        ),
        pytest.param(
            LEAST + "features: {numeric: [x, y]}",
            "pipeline.yaml line 6: features.numeric must not hold the label 'y'.",
            id="the label as a feature",
        ),
        pytest.param(
            LEAST + "positive: a",
            "pipeline.yaml line 6: positive is only for task: binary, and the task is multiclass.",
            id="positive",
        ),
        pytest.param(
            LEAST + "evaluate: {metrics: [SparseCategoricalAcuracy]}",
            "evaluate.metrics has 'SparseCategoricalAcuracy', which multiclass does not offer (did you mean "
            "SparseCategoricalAccuracy?), known are ExampleCount, ",
            id="a metric that is misspelt",
        ),
        pytest.param(
            LEAST.replace("multiclass", "regression") + "evaluate: {metrics: [MeanSquaredError, AUC]}",
            "evaluate.metrics has 'AUC', which regression does not offer",
            id="a metric of another task",
        ),
        pytest.param(
            LEAST.replace("filter: {metric: loss", "filter: {metric: val_los"),
            "pipeline.yaml line 5: rules.filter.metric 'val_los' is not what training logs for multiclass (did you "
            "mean val_loss?), known are loss, accuracy, val_loss, val_accuracy.",
            id="a rule names a metric that no epoch has",
        ),
        pytest.param(
            LEAST[: LEAST.index("rules")]
            + "rules:\n  save:\n    all:\n      - any: [{metric: val_auc, at_least: 1}]\n  filter: {}\n",
            "pipeline.yaml line 8: rules.save.all[0].any[0].metric 'val_auc' is not what training logs for multiclass",
            id="a rule among others names a metric of another task",
        ),
        pytest.param(
            LEAST.replace("{metric: loss, at_most: 1}}", "{metric: loss, at_most: {champion: val_rmse}}}"),
            "rules.filter.at_most.champion 'val_rmse' is not what training logs for multiclass",
            id="a limit names a metric that no champion has",
        ),
        pytest.param(
            LEAST.replace("rules: {", "rules: {keep: {best: {metric: acuracy, mode: max, n: 1}}, "),
            "rules.keep.best.metric 'acuracy' is not what training logs for multiclass (did you mean accuracy?)",
            id="what is kept goes by a metric that no epoch has",
        ),
        pytest.param(
            LEAST + "evaluate: {select: {metric: SparseCategoricalCrossentropy, mode: min}}",
            "evaluate.select.metric 'SparseCategoricalCrossentropy' is not the value of a listed metric (did you mean "
            "sparse_categorical_crossentropy?), known are example_count, sparse_categorical_accuracy, "
            "sparse_categorical_crossentropy.",
            id="a class name where a value's name belongs",
        ),
        pytest.param(
            LEAST + "evaluate:\n  thresholds:\n    - {metric: auc, at_least: 0.9}",
            "pipeline.yaml line 8: evaluate.thresholds[0].metric 'auc' is not the value of a listed metric, known are",
            id="a threshold on what is not measured",
        ),
        pytest.param(
            LEAST.replace("multiclass", "binary") + "evaluate: {metrics: [BinaryCrossentropy, CalibrationPlot], "
            "champion: {metric: calibration_plot, mode: min}}",
            "evaluate.champion.metric 'calibration_plot' is not the value of a listed metric",
            id="a plot has no value",
        ),
        pytest.param(
            LEAST + "evaluate: {select: {metric: sparse_categorical_accuracy}}",
            "pipeline.yaml line 6: the key mode of evaluate.select is missing.",
            id="the direction is never guessed",
        ),
        pytest.param(
            LEAST + "evaluate: {thresholds: [{metric: example_count, at_least: 1, at_most: 2}]}",
            "evaluate.thresholds[0] must have exactly one of at_least and at_most.",
            id="two bounds",
        ),
        pytest.param(
            LEAST + "evaluate: {thresholds: [{metric: example_count}]}",
            "evaluate.thresholds[0] must have exactly one of at_least and at_most.",
            id="no bound",
        ),
        pytest.param(
            LEAST + "on_no_survivors: ignore",
            "on_no_survivors must be fail or keep_champion, received 'ignore'.",
            id="on_no_survivors",
        ),
        pytest.param(
            LEAST + "on_no_candidate: champion",
            "on_no_candidate must be fail or keep_champion, received 'champion'.",
            id="on_no_candidate",
        ),
        pytest.param(
            LEAST + "evaluate:\n  select:\n    metric: sparse_categorical_crossentropy\n    mode: min\n"
            "    worst_slice: true",
            "pipeline.yaml line 10: evaluate.select.worst_slice needs evaluate.slices; there are none.",
            id="a worst slice of none",
        ),
        pytest.param(
            LEAST + "evaluate: {select: {metric: example_count, mode: max, within_noise: true}}",
            "pipeline.yaml line 6: evaluate.select.within_noise needs a metric with confidence intervals, and "
            "example_count has none.",
            id="noise of what has none",
        ),
        pytest.param(
            LEAST + "evaluate: {select: {metric: sparse_categorical_crossentropy, mode: min, ties: last}}",
            "evaluate.select.ties must be latest or earliest, received 'last'.",
            id="ties",
        ),
        pytest.param(
            LEAST + "evaluate:\n  slices: [island]\n  select:\n    metric: sparse_categorical_crossentropy\n"
            "    mode: min\n    require:\n"
            "      - {metric: sparse_categorical_accuracy, at_least: 0.8, slices: [island, [island, sex]]}",
            "pipeline.yaml line 12: evaluate.select.require[0].slices has [island, sex], which evaluate.slices does "
            "not list.",
            id="a required slice that is not measured",
        ),
        pytest.param(
            LEAST + "evaluate:\n  thresholds:\n    - {metric: example_count, at_least: 1, slices: sex}",
            "evaluate.thresholds[0].slices must be a list, received 'sex'.",
            id="slices are a list",
        ),
        pytest.param(
            LEAST + "evaluate:\n  thresholds:\n    - {metric: example_count, at_least: 1, slices: [sex]}",
            "pipeline.yaml line 8: evaluate.thresholds[0].slices has sex, which evaluate.slices does not list.",
            id="a slice with a threshold that is not measured",
        ),
        pytest.param(
            LEAST + "evaluate: {select: {metric: sparse_categorical_crossentropy, mode: min, "
            "require: [{metric: auc, at_least: 1}]}}",
            "evaluate.select.require[0].metric 'auc' is not the value of a listed metric, known are",
            id="a required metric that is not measured",
        ),
        pytest.param(
            LEAST + "evaluate:\n  thresholds:\n    - {metric: example_count, at_most: 0.5}\n"
            "    - {metric: example_count, at_least: 0.75}",
            "pipeline.yaml line 8: evaluate.thresholds[0].at_most 0.5 can never hold: another bound asks for "
            "example_count of at least 0.75.",
            id="bounds that contradict each other",
        ),
        pytest.param(
            LEAST + "on_not_blessed: ignore",
            "on_not_blessed must be keep_champion or fail, received 'ignore'.",
            id="on_not_blessed",
        ),
        pytest.param(
            LEAST + "evaluate: {first_run: bless}",
            "evaluate.first_run must be refuse or bless_on_value_thresholds, received 'bless'.",
            id="first_run",
        ),
        pytest.param(
            LEAST + "evaluate: {first_run: bless_on_value_thresholds}",
            "pipeline.yaml line 6: evaluate.first_run must be refuse while evaluate.thresholds has none: without a "
            "champion nothing else judges a model",
            id="a first run that would bless anything",
        ),
        pytest.param(
            LEAST + "name: b", "pipeline.yaml line 6: the key 'name' is there twice, first in line 1.", id="a key twice"
        ),
        pytest.param(LEAST + "model: {hidden: [1", "pipeline.yaml line 6 is not valid YAML: ", id="malformed"),
        pytest.param("", "pipeline.yaml is empty; it must be a mapping that begins with name,", id="empty"),
        pytest.param("- a\n", "pipeline.yaml holds a list; it must be a mapping", id="a list"),
        pytest.param(b"name: \xff\n", "pipeline.yaml is not UTF-8 text: byte 6 is 0xff.", id="not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(refusal, text, message):
    said = refusal(text)
    assert message in said
    assert "\n" not in said
    assert len(re.findall("pipeline.yaml", said)) == 1, "one problem, said once"


def test_all_problems_are_told_at_once(refusal):
    said = refusal(LEAST + "model: {dropout: 2}\ntrain: {epochs: 0}")
    assert said == (
        "pipeline.yaml line 6: model.dropout must be less than 1, received 2; "
        "pipeline.yaml line 7: train.epochs must be greater than or equal to 1, received 0."
    )


def test_of_many_problems_five_are_told(refusal):
    said = refusal(LEAST + "".join(f"k{number}: 1\n" for number in range(7)))
    assert said.count("unknown key") == 5
    assert said.endswith("; and 2 more.")


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no file .*/gone.yaml; `gated-pipeline new` writes one for a CSV."):
        load_config(tmp_path / "gone.yaml")


def test_a_folder_suggests_the_file_in_it(tmp_path, load):
    with pytest.raises(ConfigError, match=r"is a folder; name the pipeline.yaml in it."):
        load_config(tmp_path)
    load(LEAST)
    with pytest.raises(ConfigError, match=r"is a folder; did you mean .*/pipeline.yaml?"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("AUC", "auc"),
        ("AUCPrecisionRecall", "auc_precision_recall"),
        ("F1Score", "f1_score"),
        ("MeanSquaredError", "mean_squared_error"),
        ("ExampleCount", "example_count"),
        ("SparseTopKCategoricalAccuracy", "sparse_top_k_categorical_accuracy"),
    ],
)
def test_names_of_values_are_those_of_tfma(class_name, name):
    assert snake_case(class_name) == name


def test_no_two_metrics_of_a_task_share_a_name():
    for names in KNOWN.values():
        assert len({snake_case(name) for name in names}) == len(names)


def test_the_penguins_describe_themselves():
    config = load_config(PENGUINS)
    assert (config.name, config.label, config.task, config.train.epochs) == ("penguins", "species", "multiclass", 40)
    assert "year" not in (*config.features.numeric, *config.features.categorical)
    assert config.csv.is_file()
    rules = read_rules(config.located, ("rules",))
    assert rules.save is not None
    assert rules.filter is not None


def test_what_a_rule_of_ones_own_takes_is_its_own_affair(load):
    load(LEAST.replace("save: {metric: loss, at_most: 1}", 'save: {rule: "m:R", with: {metric: its own}}'))
