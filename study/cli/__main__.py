"""``python -m study.cli``: the ``taskct`` program where its script is not on the path."""

from study.cli import main

main()
