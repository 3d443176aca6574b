"""Proposes rules from recorded runs."""
