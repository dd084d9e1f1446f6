"""Train a classifier over a frozen network on a folder of your own images with classes."""

from mmssl.cli.options import run_tool
from mmssl.cli.probe import main

if __name__ == '__main__':
    run_tool(main)
