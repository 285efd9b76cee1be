"""Runs ``python -m patchgate``: the command line."""

from patchgate.cli import main

main()
