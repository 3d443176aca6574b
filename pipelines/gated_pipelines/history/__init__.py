"""Every run of a pipeline: recorded, listed, drawn, and whether another would be new."""
