"""Show the settings inside a training file, or an args.txt, and compare them with a config."""

from mmssl.cli.options import run_tool
from mmssl.cli.show_settings import main

if __name__ == '__main__':
    run_tool(main)
