"""Pretrain a small network on drawn shapes, measure it, and report: does everything work here?"""

from mmssl.cli.options import run_tool
from mmssl.cli.quickstart import main

if __name__ == '__main__':
    run_tool(main)
