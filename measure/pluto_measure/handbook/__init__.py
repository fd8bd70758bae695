"""What the events of a boot are, for people who verify: the catalogue, and the page that is made of it."""
