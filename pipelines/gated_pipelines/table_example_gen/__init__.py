"""ExampleGen for a table that is found when a pipeline runs, not when it is compiled."""

from gated_pipelines.table_example_gen.component import CsvExampleGen as CsvExampleGen
