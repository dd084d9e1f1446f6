"""Train a detector and a segmentor over the quickstart's checkpoint, on the embedded shapes."""

from mmssl.cli.options import run_tool
from mmssl.cli.transfer_demo import main

if __name__ == '__main__':
    run_tool(main)
