"""Speed and load, measured from outside with clients that are not ours. See README.md here."""
