"""Put several result.json side by side and say which of them cannot be compared, and why."""

from mmssl.cli.compare_results import main
from mmssl.cli.options import run_tool

if __name__ == '__main__':
    run_tool(main)
