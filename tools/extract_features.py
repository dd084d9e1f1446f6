"""Write the features of a folder of images to a .npz file: paths, features, labels, classes."""

from mmssl.cli.extract_features import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
