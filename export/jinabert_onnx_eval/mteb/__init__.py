"""Tasks of mteb with a bundle, and the model card's scores of the same tasks."""
