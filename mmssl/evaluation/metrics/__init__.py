"""Metrics of mmengine's evaluator, over all ranks: accuracy and mIoU."""
