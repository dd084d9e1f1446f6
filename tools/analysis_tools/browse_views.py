"""Draw the augmented views that a config makes of images, with the parameters of each."""

from mmssl.cli.browse_views import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
