"""Check that mmssl works on this machine's GPU, measure how fast, and let it learn a little."""
