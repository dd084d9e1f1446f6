"""Draw every schedule of a config: learning rate and decay of each group, and the model's own."""

from mmssl.cli.options import run_tool
from mmssl.cli.plot_schedule import main

if __name__ == '__main__':
    run_tool(main)
