"""The ``taskct`` command line. Importing it is fast: each command imports what it needs when it runs."""

from __future__ import annotations

import sys

from study.interruption import Interruption, Unfinished

_UNFINISHED = 124  # as of timeout(1)


def main() -> None:
    """Run the program, which nothing ends with a traceback that its user could have caused.

    Exit codes: 2 for bad input, 124 when ``study.timeout`` is over or only paused trials are left, 130 after Ctrl-C, 143 after SIGTERM.
    """
    with Interruption() as interruption:  # before anything else is imported: that takes a moment, too
        try:
            from study.cli.app import run

            code = run()
        except KeyboardInterrupt:
            code = interruption.exit_code
        except Unfinished as over:
            print(over, file=sys.stderr)
            code = _UNFINISHED
        if interruption.signal is not None or code == interruption.exit_code:
            interruption.tell()
            code = interruption.exit_code
            # CPython remembers that Ctrl-C left code which was run from a string, as dataclasses run theirs when they are
            # imported, and would end by the signal instead of with the code; the next such code that ends well clears it.
            exec("")
    sys.exit(code)


__all__ = ["main"]
