"""A schema that a person edited: read, checked, and brought into a pipeline."""

from gated_pipelines.curated_schema.reading import read_schema as read_schema
