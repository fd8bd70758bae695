"""The commands of pluto-image, one module each."""
