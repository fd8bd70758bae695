"""The commands of `pluto-notary`, one module each; each adds its own parser."""
