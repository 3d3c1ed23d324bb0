"""The encoder in torch, and its trace."""
