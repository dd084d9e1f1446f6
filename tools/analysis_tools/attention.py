"""Draw the attention maps of each head and their entropy: ViT, Swin, CvT, ViL and timm's ViTs."""

from mmssl.cli.attention import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
