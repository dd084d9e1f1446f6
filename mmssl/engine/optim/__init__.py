"""Optimizer wrapper, parameter groups, optimizers and parameter schedulers."""
