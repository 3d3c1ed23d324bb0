"""What int8 is fitted to, and its bytes."""
