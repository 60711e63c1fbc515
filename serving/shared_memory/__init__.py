"""System shared memory: what callers registered (`registry`), and how a worker reads and writes it (`regions`)."""
