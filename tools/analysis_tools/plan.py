"""Estimate what a pretraining needs before it is started: memory, batch, learning rate, time."""

from mmssl.cli.options import run_tool
from mmssl.cli.plan import main

if __name__ == '__main__':
    run_tool(main)
