"""Train a config: pretraining, linear probing, fine-tuning, or transfer to mmdet or mmseg."""

from mmssl.cli.options import run_tool
from mmssl.cli.train import main

if __name__ == '__main__':
    run_tool(main)
