"""One run of a pipeline on this machine."""
