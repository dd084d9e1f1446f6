"""Status of the current step: what optimizer wrapper, hooks, loops and signals tell each other."""

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..core.bad_samples import SHARE


@dataclass
class StepStatus:
    """One object of the runner; each field has one writer.

    ==========================  =============================  ==================================
    field                       written by                     read by
    ==========================  =============================  ==================================
    updated                     OptimWrapper.step              MethodHook, NonFiniteHook
    non_finite                  OptimWrapper.step              NonFiniteHook
    non_finite_parameters       OptimWrapper.step              NonFiniteHook
    signal_received             signals.catch_signals          OptimWrapper.step
    signal_agreed               OptimWrapper.step              CheckpointHook
    values_read                 OptimWrapper.step              loop and hooks that log
    bad_samples_share           BadSamplesHook                 evaluation.feature_extraction
    predictions                 evaluation loops and hooks     tools, results.hook
    start_metrics               StartHook                      LineProcessor
    ==========================  =============================  ==================================
    """

    updated: bool = False  # the last iteration ended with an optimizer step
    non_finite: bool = False  # a loss or gradient of this update is not finite on some rank
    non_finite_parameters: list[nn.Parameter] = field(default_factory=list)  # of this rank
    signal_received: int = 0  # number of a signal that this process received
    signal_agreed: int = 0  # number of the signal that all ranks follow
    # what the host has read of each micro-batch of the update that ended: reading, name, number
    values_read: list[dict[str, dict[str, float]]] = field(default_factory=list)
    bad_samples_share: float = SHARE  # unreadable images that an evaluation tolerates
    predictions: list[dict[str, Any]] = field(default_factory=list)  # of the last evaluation
    start_metrics: dict[str, float] = field(default_factory=dict)  # before the first step
