"""Training behind a gate: by the Keras callback, or in a loop of one's own."""
