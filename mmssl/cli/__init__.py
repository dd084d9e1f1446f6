"""Command lines of the tools, one module a tool."""
