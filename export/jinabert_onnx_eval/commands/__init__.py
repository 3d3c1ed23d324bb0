"""One module a report: its options, and how it is printed."""
