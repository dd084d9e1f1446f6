"""Reports of a run as self-contained HTML pages."""
