"""Measure encoders on data sets, and write one page that says which is better, and how surely."""

from mmssl.cli.evaluate import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
