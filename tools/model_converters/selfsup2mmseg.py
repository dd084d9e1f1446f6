"""Write the backbone of a self-supervised file for mmseg, and print the lines that use it."""

from mmssl.cli.options import run_tool
from mmssl.cli.selfsup2mmseg import main

if __name__ == '__main__':
    run_tool(main)
