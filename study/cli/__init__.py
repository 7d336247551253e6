"""The ``taskct`` command line. Importing it is fast: each command imports what it needs when it runs."""

from study.cli.app import main

__all__ = ["main"]
