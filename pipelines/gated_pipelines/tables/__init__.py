"""Tables: read, checked, brought into one spelling, staged for TFX."""
