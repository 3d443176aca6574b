"""Looks back over stores and ledgers: lists, explains, replays, judges again. No TensorFlow."""
