"""Write the backbone of a self-supervised file for mmdet, and print the lines that use it."""

from mmssl.cli.options import run_tool
from mmssl.cli.selfsup2mmdet import main

if __name__ == '__main__':
    run_tool(main)
