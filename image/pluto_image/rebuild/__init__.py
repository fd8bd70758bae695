"""Reproducing a release: rebuild from what it publishes, compare every byte, say what differs and why.

    published   the folder of a release, read strictly                    the only reader of files
    again       its sources and lock ──build──▶ all files in memory
    compare     both, byte by byte, without writing either                pure
    explain     what differs: section, path of the root, field, pointer   pure
    causes      why: another lock, definition, source, builder, libzstd   pure

No code of the release runs: its source.tar is data for the builder that is installed here.
"""
