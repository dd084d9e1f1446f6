"""Predict memory, time and cost of a training before it starts."""
