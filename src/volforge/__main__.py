"""Run the command line as `python -m volforge`."""

from volforge.cli import main

main()
