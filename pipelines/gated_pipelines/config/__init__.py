"""What a pipeline.yaml says, checked, and what follows from it."""
