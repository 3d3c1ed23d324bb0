"""The steps from texts to vectors, as functions of a loaded model."""
