"""Models, data sets and commands that several test modules use."""
