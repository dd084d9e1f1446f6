"""Losses and other equations of the papers: functions of tensors, without state or config."""
