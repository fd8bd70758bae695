"""A Debian archive: what it signs and lists, versions and relations, its packages, and where it may be reached."""
