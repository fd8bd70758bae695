"""The commands of pluto-measure, one module each; cli.py puts them together."""
