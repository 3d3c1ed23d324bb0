"""Tasks of mteb, and their scores beside the model card's."""
