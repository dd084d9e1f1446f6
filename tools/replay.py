"""Replay a recorded run on this machine and find the first step that departs from it."""

from mmssl.cli.options import run_tool
from mmssl.cli.replay import main

if __name__ == '__main__':
    run_tool(main)
