"""Train configs over several seeds and put their kNN accuracies side by side."""

from mmssl.cli.compare import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
