"""A compiled pipeline run task by task on one machine."""
