"""Check that mmssl works on this machine's GPU, measure how fast, and let it learn a little."""

from mmssl.cli.gpu import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
