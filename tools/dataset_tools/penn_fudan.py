"""Make COCO's lists of the Penn-Fudan pedestrians (https://www.cis.upenn.edu/~jshi/ped_html/)."""

from mmssl.cli.options import run_tool
from mmssl.cli.penn_fudan import main

if __name__ == '__main__':
    run_tool(main)
