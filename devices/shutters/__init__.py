"""Shutters and slits are Movables of words: `set("open")`, `set("closed")`; `set("wide")`, `set("narrow")`."""
