"""Read and decode every image of a config or a folder; name those that cannot be used."""

from mmssl.cli.options import run_tool
from mmssl.cli.verify_dataset import main

if __name__ == '__main__':
    run_tool(main)
