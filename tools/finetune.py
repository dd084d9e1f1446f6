"""Fine-tune a network on a folder of your own images with classes."""

from mmssl.cli.finetune import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
