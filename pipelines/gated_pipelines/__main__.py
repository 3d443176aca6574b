"""`python -m gated_pipelines`."""

from gated_pipelines.cli import main

main()
