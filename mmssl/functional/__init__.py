"""Equations of the papers: functions of tensors, without state and without config."""
