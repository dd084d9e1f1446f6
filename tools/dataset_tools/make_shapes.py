"""Make the example data: textured shapes in class folders, and scenes with boxes and masks."""

from mmssl.cli.make_shapes import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
