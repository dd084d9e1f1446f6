"""Draw the matched regions of two images, or measure the matches over a folder."""

from mmssl.cli.correspondence import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
