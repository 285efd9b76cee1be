"""``python -m patchgate.cli``, where the script is not on the path."""

from patchgate.cli import main

main()
