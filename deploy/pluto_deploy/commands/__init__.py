"""One module per command of `pluto-deploy`; each adds its own parser."""
