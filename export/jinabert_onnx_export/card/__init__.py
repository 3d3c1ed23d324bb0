"""The model card of a bundle, for people and for the hub."""
