"""Plot the images of a folder by their features in the plane: PCA, t-SNE or UMAP."""

from mmssl.cli.embedding import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
