"""Pretrain a network on a folder of your own images, measure it, and report."""

from mmssl.cli.options import run_tool
from mmssl.cli.pretrain import main

if __name__ == '__main__':
    run_tool(main)
