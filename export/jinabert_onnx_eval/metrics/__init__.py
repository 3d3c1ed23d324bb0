"""What is measured, as arithmetic on vectors and texts."""
