"""Write the HTML report of a work dir: one self-contained file."""

from mmssl.cli.options import run_tool
from mmssl.cli.report import main

if __name__ == '__main__':
    run_tool(main)
