"""A bundle on disk: where it is, what it holds, whether it is whole."""
