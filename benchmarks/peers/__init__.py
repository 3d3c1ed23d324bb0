"""What others run: each runtime that the project is measured beside, and the harness that asks them in turn."""
