"""Files in the folders of TFX's artifacts that components of this package hand to each other."""
