"""Strip a training file to its weights and name it by its hash: DST-<8 digits>.pth."""

from mmssl.cli.options import run_tool
from mmssl.cli.publish_model import main

if __name__ == '__main__':
    run_tool(main)
