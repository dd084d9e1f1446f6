"""Pretrain a small network and report on it: on embedded shapes, or on your own images."""

from mmssl.cli.options import run_tool
from mmssl.cli.quickstart import main

if __name__ == '__main__':
    run_tool(main)
