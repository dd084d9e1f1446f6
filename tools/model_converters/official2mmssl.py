"""Rewrite a file of any known layout under our names: both sides, heads, queues and centres."""

from mmssl.cli.official2mmssl import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
