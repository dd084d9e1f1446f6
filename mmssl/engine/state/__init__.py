"""Training state and the files that hold it."""
