"""SavedModels of checkpoints: made, averaged, compared."""
