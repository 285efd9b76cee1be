"""Runs ``python -m patchgate.cli``, for when the script is not on the path."""

from patchgate.cli import main

main()
