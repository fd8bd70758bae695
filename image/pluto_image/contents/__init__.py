"""What is inside a build, as facts for people: read from the files of a DIST, without deciding anything. Pure.

`contents.facts.gather` puts them together; `pluto_image.pages` shows them, `pluto-image inspect --json` prints them.
"""
