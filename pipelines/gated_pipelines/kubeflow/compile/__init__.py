"""A pipeline.yaml compiled to one file."""
