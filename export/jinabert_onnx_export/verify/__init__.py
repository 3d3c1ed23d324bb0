"""The proof that a bundle computes what torch does."""
