"""One-page pictures of runs, one module per technique."""
