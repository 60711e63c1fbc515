"""The `dodona` command. Modules here import what is heavy inside functions, so that `dodona --help` is instant."""

from dodona.cli.app import main

__all__ = ["main"]
