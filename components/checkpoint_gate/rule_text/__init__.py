"""Rules as YAML or JSON text: read with the line of every mistake, and written back without loss."""
