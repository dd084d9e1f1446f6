"""Tell what is in a data set: unreadable images, duplicates, leaks, sizes, mean and std."""

from mmssl.cli.data_report import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
