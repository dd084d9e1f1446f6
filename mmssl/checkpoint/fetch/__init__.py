"""Download checkpoint files."""
