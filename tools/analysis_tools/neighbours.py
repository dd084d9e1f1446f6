"""Show the nearest neighbours of images in a folder, by a network's features."""

from mmssl.cli.neighbours import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
