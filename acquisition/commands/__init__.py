"""The `megabar` command line, one module per command."""
