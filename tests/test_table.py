"""Reading a CSV, choosing its features, and staging it for CsvExampleGen."""

import csv
import io
import logging
import math
import os

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import datasets

from checkpoint_gate.errors import ConfigError
from gated_pipelines.config.pipeline_config import parse_config
from gated_pipelines.tables.normalise import normalise
from gated_pipelines.tables.staging import stage_table
from gated_pipelines.tables.table import FeatureSet, infer_features, kind_of, read_table


@pytest.fixture
def write(tmp_path):
    """Writes a text or bytes as `t.csv` and returns its path."""

    def write(content):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def configure(tmp_path):
    """A config of the table `t.csv`; `more` is YAML that is added."""

    def configure(label="y", task="regression", more=""):
        text = (
            f"name: t\ndata: {{csv: t.csv}}\nlabel: {label}\ntask: {task}\nrules: {{save: {{}}, filter: {{}}}}\n{more}"
        )
        return parse_config(text, tmp_path / "pipeline.yaml")

    return configure


@pytest.fixture
def stage(write, configure, tmp_path):
    """Stages a table; returns what `stage_table` does, and the staged rows as texts."""

    def stage(content, **config):
        write(content)
        staged = stage_table(configure(**config), tmp_path / "staged")
        with open(staged.folder / staged.file, newline="", encoding="utf-8") as file:
            return staged, list(csv.DictReader(file))

    return stage


def rows(header, line, count=30):
    """A CSV whose lines are `line` with `{i}` counted from 0."""
    return header + "\n" + "".join(line.format(i=i, even=i % 2) + "\n" for i in range(count))


def noted(caplog, level=logging.WARNING):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


class TestRead:
    @pytest.mark.parametrize(
        ("cells", "dtype", "values"),
        [
            pytest.param(["1", "-2", "+3"], "int64", [1, -2, 3], id="whole numbers"),
            pytest.param(["1", "2.5", "1e-3"], "float64", [1.0, 2.5, 0.001], id="decimals"),
            pytest.param(["1", "", "3"], "float64", [1.0, None, 3.0], id="whole numbers with one missing"),
            pytest.param(["1", "inf", "-Infinity"], "float64", [1.0, math.inf, -math.inf], id="infinities"),
            pytest.param(["007", "8", "9"], "object", ["007", "8", "9"], id="leading zeros are text"),
            pytest.param(["0", "0.5", "-0.25"], "float64", [0.0, 0.5, -0.25], id="a lone zero leads nothing"),
            pytest.param(["9" * 18, "1"], "object", ["9" * 18, "1"], id="more digits than a decimal holds are text"),
            pytest.param(["1_000", "2"], "object", ["1_000", "2"], id="an underscore makes text"),
            pytest.param(["True", "false", "TRUE"], "bool", [True, False, True], id="booleans"),
            pytest.param(["True", "", "False"], "object", [True, None, False], id="booleans with one missing"),
            pytest.param(["a", "?", "NA"], "object", ["a", None, None], id="markers of what is missing"),
            pytest.param(["?", "nan", "NULL"], "float64", [None, None, None], id="nothing but markers"),
            pytest.param([" a ", "b", "a"], "object", ["a", "b", "a"], id="white space around text is dropped"),
            pytest.param(['"x, y"', "b"], "object", ["x, y", "b"], id="quotes keep a comma"),
            pytest.param(["2024-01-31", "x"], "object", ["2024-01-31", "x"], id="dates stay text"),
            pytest.param(["0.1", "1e22"], "float64", [0.1, 1e22], id="decimals to the last bit"),
        ],
    )
    def test_columns(self, write, cells, dtype, values):
        column = read_table(write("n,x\n" + "".join(f"r,{cell}\n" for cell in cells)))["x"]
        assert str(column.dtype) == dtype
        assert [None if pd.isna(value) else value for value in column.tolist()] == values

    def test_a_byte_order_mark_blank_lines_and_spaces_do_no_harm(self, write):
        frame = read_table(write(b'\xef\xbb\xbfa, "b c", d \r\n\r\n1, "x, y", 2 \r\n'))
        assert frame.to_dict("records") == [{"a": 1, "b c": "x, y", "d": 2}]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param("", "is empty; a table needs a header and rows.", id="empty"),
            pytest.param("\n \n", "is empty; a table needs a header and rows.", id="blank"),
            pytest.param("a,b\n", "has a header and no rows; a table needs rows.", id="header only"),
            pytest.param("a,b,a\n1,2,3\n", "'a' names more than one column; rename all but one.", id="duplicate name"),
            pytest.param("a,a \n1,2\n", "'a' names more than one column; rename all but one.", id="but for a space"),
            pytest.param(",b\n1,2\n", "column 1 has no name; name it or remove it.", id="unnamed column"),
            pytest.param('"a\nb",c\n1,2\n', "the name of column 1, 'a\\nb', holds a line break;", id="broken name"),
            pytest.param(
                "a,b\n1,2\n\n1,2,3\n",
                "t.csv line 4 has 3 fields where the header has 2; put quotes around a field that holds a comma.",
                id="too many fields",
            ),
            pytest.param("a,b\n1,2\n1\n", "t.csv line 3 has 1 fields where the header has 2;", id="too few fields"),
            pytest.param('a,b\n1,"2" x\n', "t.csv line 2 is not CSV: ',' expected after '\"'.", id="after a quote"),
            pytest.param('a,b\n1,"2\n3,4\n', "t.csv line 3 is not CSV: unexpected end of data.", id="open quote"),
            pytest.param(
                "a;b\n1;2\n",
                "has one column, 'a;b', and seems to be separated by semicolons; separate it by commas, for example "
                "with pandas.read_csv(path, sep=';').to_csv(path, index=False).",
                id="semicolons",
            ),
            pytest.param(
                "a;b\n1,5;2\n",
                "seems to be separated by semicolons; separate it by commas, for example with "
                "pandas.read_csv(path, sep=';', decimal=',').to_csv(path, index=False).",
                id="semicolons, and commas in decimals",
            ),
            pytest.param("a\tb\n1\t2\n", "seems to be separated by tabs;", id="tabs"),
            pytest.param(
                b"a,b\n1,caf\xe9\n",
                "t.csv line 2 is not UTF-8 text: byte 9 is 0xe9; save it as UTF-8.",
                id="another encoding",
            ),
            pytest.param("a,b\n1,2\n".encode("utf-16-le"), "t.csv line 1 holds a zero byte,", id="UTF-16"),
        ],
    )
    def test_what_is_no_table_says_why(self, write, content, message):
        with pytest.raises(ConfigError) as caught:
            read_table(write(content))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"There is no file .*gone.csv; name a CSV that exists."):
            read_table(tmp_path / "gone.csv")

    def test_a_folder(self, tmp_path):
        with pytest.raises(ConfigError, match=r"is a folder; name the CSV in it."):
            read_table(tmp_path)

    def test_a_column_without_values_is_told(self, write, caplog):
        read_table(write("a,b\n1,\n2,?\n"))
        assert noted(caplog) == [f"{write('')}: 'b' has no values and is left out."]


class TestInfer:
    @pytest.mark.parametrize(
        ("load", "label", "numeric", "ignored"),
        [
            pytest.param(datasets.load_diabetes, "target", 10, {}, id="diabetes"),
            pytest.param(datasets.load_breast_cancer, "target", 30, {}, id="breast cancer"),
            pytest.param(datasets.load_wine, "target", 13, {}, id="wine"),
            pytest.param(datasets.load_iris, "target", 4, {}, id="iris"),
            pytest.param(
                datasets.load_digits,
                "target",
                61,
                dict.fromkeys(["pixel_0_0", "pixel_4_0", "pixel_4_7"], "it is the same in every row"),
                id="digits",
            ),
        ],
    )
    def test_real_tables(self, write, load, label, numeric, ignored):
        frame = read_table(write(load(as_frame=True).frame.to_csv(index=False)))
        inference = infer_features(frame, label)
        assert len(inference.features.numeric) == numeric
        assert inference.features.categorical == ()
        assert dict(inference.ignored) == ignored

    @pytest.mark.parametrize(
        ("cells", "kind"),
        [
            pytest.param([str(i % 2) for i in range(30)], "numeric", id="few whole numbers stay numeric"),
            pytest.param([str(i * 7 % 31) for i in range(30)], "numeric", id="many whole numbers"),
            pytest.param(["True", "False"] * 15, "categorical", id="booleans"),
            pytest.param(["True", ""] * 15, "categorical", id="present or missing"),
            pytest.param(["a", "b", ""] * 10, "categorical", id="text"),
            pytest.param(["01", "02", "10"] * 10, "categorical", id="codes with leading zeros"),
            pytest.param(["7", ""] * 15, "it is the same in every row", id="one number, or missing"),
            pytest.param(["a"] * 30, "it is the same in every row", id="one text"),
            pytest.param([""] * 30, "it has no values", id="no values"),
            pytest.param([str(i + 100) for i in range(30)], "it numbers the rows", id="row numbers"),
            pytest.param(
                [f"p{i}" for i in range(30)],
                "nearly every row has a text of its own, as names and ids have",
                id="a name each",
            ),
            pytest.param(
                [f'"{i % 9},{i + 100}.5"' if i else "7" for i in range(30)],
                "it holds numbers with thousands separators, as 7,123; write them without",
                id="amounts",
            ),
            pytest.param(["2024-01-31", "2024-02-01", ""] * 10, "it holds dates or times", id="dates"),
            pytest.param(["31.1.2024 10:15"] * 15 + ["1.2.2024 9:00"] * 15, "it holds dates or times", id="moments"),
            pytest.param(["10:15", "9:30 pm"] * 15, "it holds dates or times", id="times"),
            pytest.param(
                [f"w{i % 1001}" for i in range(2002)],
                "it has 1,001 different texts, more than 1,000",
                id="too many texts",
            ),
            pytest.param([f"w{i % 1000}" for i in range(2000)], "categorical", id="just few enough texts"),
        ],
    )
    def test_a_column(self, write, cells, kind):
        frame = read_table(write("n,x,y\n" + "".join(f"r,{cell},{i % 3}\n" for i, cell in enumerate(cells))))
        inference = infer_features(frame.drop(columns="n"), "y")
        found = {
            **dict.fromkeys(inference.features.numeric, "numeric"),
            **dict.fromkeys(inference.features.categorical, "categorical"),
            **inference.ignored,
        }
        assert found == {"x": kind}

    def test_a_name_with_a_comma_cannot_be_a_feature(self, write):
        frame = read_table(write(rows('"a, b",y', "{i}.5,{i}")))
        assert dict(infer_features(frame, "y").ignored) == {"a, b": "its name holds a comma"}

    def test_a_frame_that_was_not_read_from_a_file(self):
        frame = pd.DataFrame({"x": [0.5, None] * 10, "f": [True, False] * 10, "y": range(20)})
        assert infer_features(frame, "y").features == FeatureSet(numeric=(), categorical=("f",))
        assert kind_of(frame["f"]) == "boolean"


class TestStage:
    def test_only_what_is_used_is_kept_in_one_spelling(self, stage):
        staged, read = stage(
            rows("id,size (cm),flag,code,y,b.c/d é", "p{i},{i},TRUE,{even},{i}e1,x", 20)
            + 'p20,,false,,1.5,"line\nbreak, and ""quotes"""\n',
            more="features: {numeric: [size (cm)], categorical: [flag, code, b.c/d é]}",
        )
        assert list(read[0]) == ["size (cm)", "flag", "code", "y", "b.c/d é"]
        assert list(read[3].values()) == ["3.0", "True", "1", "30.0", "x"]
        assert list(read[20].values()) == ["", "False", "", "1.5", 'line break, and "quotes"']
        assert staged.rows == len(read) == 21
        assert staged.features == FeatureSet(("size (cm)",), ("flag", "code", "b.c/d é"))
        assert (staged.label, staged.task, staged.classes) == ("y", "regression", ())

    def test_the_header_is_as_tfx_takes_it_apart(self, stage):
        staged, _ = stage(rows("a 'b;c,y", "{i}.5,{i}"))
        with open(staged.folder / staged.file, encoding="utf-8") as file:
            assert file.readline().strip().split(",") == ["a 'b;c", "y"]

    def test_the_file_is_alone_and_named_by_its_content(self, stage):
        staged, _ = stage(rows("x,y", "{i}.5,{i}"))
        assert os.listdir(staged.folder) == ["table.csv"]
        assert staged.folder.name == staged.digest[:16]
        assert os.listdir(staged.folder.parent) == [staged.folder.name]

    def test_the_same_content_is_never_written_again(self, stage):
        first, _ = stage(rows("x,y", "{i}.5,{i}"))
        os.utime(first.folder / first.file, (1, 1))
        second, _ = stage(rows("unused,x,y", "u{i},{i}.50, {i}.0"))
        assert second == first
        assert (first.folder / first.file).stat().st_mtime == 1

    def test_a_damaged_file_is_written_again(self, stage):
        first, read = stage(rows("x,y", "{i}.5,{i}"))
        (first.folder / first.file).write_text("x,y\n1")
        assert stage(rows("x,y", "{i}.5,{i}")) == (first, read)

    def test_the_order_of_features_in_the_config_does_not_matter_to_the_bytes(self, stage):
        content = rows("a,b,y", "{i}.5,{i},{i}")
        one, _ = stage(content, more="features: {numeric: [a, b]}")
        two, _ = stage(content, more="features: {numeric: [b, a]}")
        assert one.digest == two.digest
        assert two.features.numeric == ("b", "a")

    def test_a_sliced_column_is_kept_though_it_is_no_feature(self, stage):
        staged, read = stage(
            rows("x,year,y", "{i}.5,200{even},{i}"), more="features: {numeric: [x]}\nevaluate: {slices: [year]}"
        )
        assert staged.features.all == ("x",)
        assert {row["year"] for row in read} == {"2000", "2001"}

    @pytest.mark.parametrize(
        ("cells", "task", "more", "classes"),
        [
            pytest.param(["b", "a", "c"], "multiclass", "", ("a", "b", "c"), id="text in order"),
            pytest.param(["10", "9", "2"], "multiclass", "", ("2", "9", "10"), id="numbers in their own order"),
            pytest.param(["0", "1"], "binary", "", ("0", "1"), id="the last is positive"),
            pytest.param(["1.0", "0.0"], "binary", "", ("0", "1"), id="whole decimals have no point"),
            pytest.param(["1", "-1"], "binary", "", ("-1", "1"), id="minus one is below one"),
            pytest.param(["yes", "no"], "binary", "positive: no", ("yes", "no"), id="positive by choice"),
            pytest.param(["true", "FALSE"], "binary", "positive: false", ("True", "False"), id="positive false"),
            pytest.param(["1", "2"], "binary", "positive: 1", ("2", "1"), id="positive by number"),
        ],
    )
    def test_classes(self, stage, cells, task, more, classes):
        content = "x,y\n" + "".join(f"{i}.5,{cell}\n" for i in range(15) for cell in cells)
        staged, read = stage(content, task=task, more=more)
        assert staged.classes == classes
        assert {row["y"] for row in read} == set(classes)

    def test_rows_without_a_label_are_left_out_and_told(self, stage, caplog, tmp_path):
        staged, read = stage(rows("x,y", "{i}.5,{i}") + "1,\n2,?\n")
        assert staged.rows == len(read) == 30
        assert noted(caplog) == [f"{tmp_path}/t.csv: 2 of 32 rows have no y and are left out."]

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            pytest.param("1,rare\n", "class 'rare' has 1 row", id="one class"),
            pytest.param("1,u\n2,v\n3,v\n", "classes 'u', 'v' have fewer than 3 rows each", id="several"),
        ],
    )
    def test_a_class_that_not_every_split_can_have_is_told(self, more, words, stage, caplog, tmp_path):
        stage("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(30)) + more, task="multiclass")
        said = f"{words}, so that train, eval and test cannot all have one."
        assert noted(caplog) == [f"{tmp_path}/t.csv: {said}"]

    def test_infinite_features_count_as_missing(self, stage, caplog, tmp_path):
        _, read = stage(rows("x,y", "{i}.5,{i}") + "inf,1\n-1e39,2\n")
        assert [row["x"] for row in read[-2:]] == ["", ""]
        assert noted(caplog) == [f"{tmp_path}/t.csv: 2 infinite values of 'x' count as missing."]

    def test_a_given_feature_without_values_is_left_out_and_told(self, stage, caplog):
        staged, read = stage(rows("x,e,y", "{i}.5,,{i}"), more="features: {numeric: [x, e]}")
        assert staged.features == FeatureSet(("x",), ())
        assert "e" not in read[0]
        assert noted(caplog)[-1] == "The feature 'e' has no values and is left out."

    def test_given_kinds_overrule_what_the_column_looks_like(self, stage):
        staged, read = stage(
            rows("zip,code,y", "0{i},{even},{i}"), more="features: {numeric: [zip], categorical: [code]}"
        )
        assert staged.features == FeatureSet(("zip",), ("code",))
        assert list(read[1].values()) == ["1.0", "1", "1.0"]

    @pytest.mark.parametrize(
        ("content", "config", "message"),
        [
            pytest.param(
                rows("species,x", "a,{i}"),
                {"label": "specie"},
                "pipeline.yaml line 3: label names 'specie', which is no column of {folder}/t.csv (did you mean "
                "'species'?); its columns are 'species', 'x'.",
                id="unknown label",
            ),
            pytest.param(
                rows("x,y", "{i},{i}"),
                {"more": "features:\n  numeric: [x, z]"},
                "pipeline.yaml line 7: features.numeric names 'z', which is no column of",
                id="unknown feature",
            ),
            pytest.param(
                rows("x,y", "{i},{i}"),
                {"more": "evaluate: {slices: [sex]}"},
                "pipeline.yaml line 6: evaluate.slices names 'sex', which is no column of",
                id="unknown slice",
            ),
            pytest.param(
                rows("x,y", "{i}.5,{i}", 19),
                {},
                "t.csv has 19 rows with a y; at least 20 are needed for three splits.",
                id="too few rows",
            ),
            pytest.param(
                rows("x,y", "{i},a"),
                {"task": "multiclass"},
                "the label 'y' has one class, 'a', in every row; there is nothing to learn.",
                id="one class",
            ),
            pytest.param(
                rows("x,y", "{i},1.5"), {}, "the label 'y' is 1.5 in every row.", id="a regression of one value"
            ),
            pytest.param(
                rows("x,y", "{i},{even}") + "1,2\n",
                {"task": "binary"},
                "the label 'y' has 3 classes ('0', '1', '2'); task: binary needs exactly 2.",
                id="binary with three classes",
            ),
            pytest.param(
                rows("x,y", "{i},{even}"),
                {"task": "binary", "more": "positive: yes"},
                "pipeline.yaml line 6: positive is 'yes', and the classes of 'y' are '0', '1'.",
                id="a positive class that is none",
            ),
            pytest.param(
                rows("x,y", "{i},{i}.5"),
                {"task": "multiclass"},
                "the label 'y' has 30 classes ('0.5', '1.5', '2.5', '3.5', '4.5', '5.5', '6.5', '7.5', '8.5', '9.5' "
                "and 20 more), 30 of them in one row only; it looks like a quantity or an id: for a quantity say "
                "task: regression.",
                id="a quantity as classes",
            ),
            pytest.param(
                rows("x,y", "{i},c{i}", 1001), {"task": "multiclass"}, "has 1001 classes", id="too many classes"
            ),
            pytest.param(
                rows("x,y", "{i},0{even}"),
                {"task": "binary"},
                "the label 'y' has the class '00', which TFX reads as a number and not as that text; give the classes "
                "names that are not numbers, such as 'class 00'.",
                id="classes that would change when read",
            ),
            pytest.param(
                rows("x,y", "{i},{even}.5"), {"task": "binary"}, "has the class '0.5', which TFX reads", id="decimals"
            ),
            pytest.param(
                rows("x,y", "{i},{i}") + "1,high\n",
                {},
                "the label 'y' must be a number for task: regression; row 31 has 'high'.",
                id="a regression of text",
            ),
            pytest.param(
                rows("x,y", "{i},") + rows("x,y", "{i}.5,{i}").split("\n", 1)[1] + "1,-inf\n",
                {},
                "the label 'y' must be a finite 32-bit number; row 61 has -inf.",
                id="an infinite label",
            ),
            pytest.param(
                rows("x,y", "{i}.5,{i}") + "n.a.,1\n",
                {"more": "features: {numeric: [x]}"},
                "the numeric feature 'x' must hold numbers (or list it under categorical); row 31 has 'n.a.'.",
                id="text in a numeric feature",
            ),
            pytest.param(
                rows("x,y", "TRUE,{i}"),
                {"more": "features: {numeric: [x]}"},
                "the numeric feature 'x' must hold numbers (or list it under categorical); row 1 has True.",
                id="booleans in a numeric feature",
            ),
            pytest.param(
                rows("x,y", "a,{i}"), {}, "has no column that can be a feature beside the label 'y'.", id="no feature"
            ),
            pytest.param(
                rows("x,s,y", "{i}.5,,{i}"),
                {"more": "evaluate: {slices: [s]}"},
                "pipeline.yaml line 6 slices by 's', which has no values.",
                id="a slice without values",
            ),
            pytest.param(
                rows('"x,z",y', "{i}.5,{i}"),
                {"more": 'features: {numeric: ["x,z"]}'},
                "'x,z' cannot be used because its name holds a comma; rename the column.",
                id="a comma in a name",
            ),
            pytest.param(
                rows("x,y", "a{even},{i}") + f"{'b' * 100_001},1\n",
                {"more": "features: {categorical: [x]}"},
                "a value of 'x' is longer than 100,000 characters.",
                id="a cell that TFX cannot read",
            ),
        ],
    )
    def test_what_does_not_fit_is_said(self, stage, tmp_path, content, config, message):
        with pytest.raises(ConfigError) as caught:
            stage(content, **config)
        assert message.format(folder=tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "staged").exists()

    def test_a_folder_that_cannot_be_written(self, write, configure, tmp_path):
        write(rows("x,y", "{i}.5,{i}"))
        (tmp_path / "staged").write_text("a file")
        with pytest.raises(ConfigError, match=r"The table cannot be written to .*/staged/.*: Not a directory."):
            stage_table(configure(), tmp_path / "staged")

    def test_real_tables(self, stage):
        for load in (datasets.load_diabetes, datasets.load_wine, datasets.load_breast_cancer):
            frame = load(as_frame=True).frame
            task = {10: "regression", 13: "multiclass", 30: "binary"}[frame.shape[1] - 1]
            staged, read = stage(frame.to_csv(index=False), label="target", task=task)
            back = pd.DataFrame(read).astype("float64")
            pd.testing.assert_frame_equal(back, frame.astype("float64"), check_exact=True)
            assert staged.classes == tuple(str(name) for name in sorted(frame.target.unique()) if task != "regression")


cell = st.one_of(
    st.floats(allow_nan=False, width=32).map(repr),
    st.integers(-(10**6), 10**6).map(str),
    st.sampled_from(["", "NA", "True", "x y", 'q"q', "a,b", "l\nm", "ü", "007", " pad "]),
)
cells = st.lists(st.tuples(cell, cell, st.floats(-1e6, 1e6)), min_size=20, max_size=30)


@given(cells)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_staging_is_deterministic_and_stable(tmp_path, configure, table):
    """Staged twice, or staged again from its own output, a table has one digest; its values are the source's."""
    if len({y for _, _, y in table}) == 1:
        return
    config = configure(more="features: {numeric: [n], categorical: [a, b]}")
    text = io.StringIO()
    csv.writer(text).writerows([("a", "b", "n", "y"), *((a, b, i / 7, y) for i, (a, b, y) in enumerate(table))])
    (tmp_path / "t.csv").write_text(text.getvalue(), encoding="utf-8")
    first = stage_table(config, tmp_path / "staged")
    assert stage_table(config, tmp_path / "other").digest == first.digest
    data = (first.folder / first.file).read_text(encoding="utf-8")
    with open(first.folder / first.file, newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [float(row["y"]) for row in read] == [y for _, _, y in table]
    assert [float(row["n"]) for row in read] == [i / 7 for i in range(len(table))]
    (tmp_path / "t.csv").write_text(data, encoding="utf-8")
    frame = read_table(config.csv)
    again = normalise(config, frame).columns
    assert again == {name: [row[name] for row in read] for name in again}
