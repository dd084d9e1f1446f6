"""Classes of images, by a trained classifier: printed, and into a file."""

from mmssl.cli.options import run_tool
from mmssl.cli.predict import main

if __name__ == '__main__':
    run_tool(main)
