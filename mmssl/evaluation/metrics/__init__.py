"""Metrics for mmengine's evaluator, over all ranks: accuracy and mIoU."""
