"""The user's texts, and what is made of them."""
