"""Arrange CamVid, 11 classes at 480x360, for mmseg."""

from mmssl.cli.camvid import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
