"""Count the parameters of a model, and the operations of its backbone on one image."""

from mmssl.cli.count_params import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
