"""Colour the patches of images by the principal components of all their features."""

from mmssl.cli.options import run_tool
from mmssl.cli.patch_pca import main

if __name__ == '__main__':
    run_tool(main)
