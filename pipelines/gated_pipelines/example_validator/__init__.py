"""ExampleValidator that also compares spans, and can end a run."""

from gated_pipelines.example_validator.component import ExampleValidator as ExampleValidator
