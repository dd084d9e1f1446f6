"""Export a backbone and compare the result with it."""

from mmssl.cli.export import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
