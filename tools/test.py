"""Evaluate a checkpoint with a config's test loop, or a pretraining config's kNN monitor."""

from mmssl.cli.options import run_tool
from mmssl.cli.test import main

if __name__ == '__main__':
    run_tool(main)
