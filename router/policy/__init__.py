"""Pure decisions of the router: no I/O, no clock, no randomness of their own (a test enforces it)."""
