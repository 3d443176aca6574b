"""The disk of a root stays bounded: what no recent pipeline run needs is planned, told and removed."""
