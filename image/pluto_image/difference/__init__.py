"""What changed between two releases, from packages to registers, and why. Pure.

`side.Side` is one release as it was read, `whole.difference` compares two, `outline.chapters` puts the result into the
order in which people read it; `text`, `markdown`, `pluto_image.pages.difference` and `document` are its four forms.
"""
