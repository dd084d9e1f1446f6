"""Reader of checkpoint files that never runs code from them."""
