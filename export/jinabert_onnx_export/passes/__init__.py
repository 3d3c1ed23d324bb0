"""The passes that turn a trace into the graph for CPUs."""
