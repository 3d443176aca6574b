"""What a training did, as pages for people: plots and tables. No TensorFlow, no TFX."""
