"""A checkpoint's files to a torch encoder and what goes with it."""
