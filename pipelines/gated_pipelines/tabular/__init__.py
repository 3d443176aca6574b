"""The tabular model: how it is made, fed, begun, exported."""
