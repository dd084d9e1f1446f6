"""Pack images as zip, TSV, WebDataset shards, LMDB or class folders, and read them back."""

from mmssl.cli.options import run_tool
from mmssl.cli.pack_dataset import main

if __name__ == '__main__':
    run_tool(main)
