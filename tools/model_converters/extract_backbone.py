"""Write one backbone of any checkpoint, linear classifiers included, for a library or for us."""

from mmssl.cli.extract_backbone import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
