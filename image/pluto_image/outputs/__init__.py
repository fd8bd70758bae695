"""Writers of what platforms and people take of one build: disks, archives, the container, documents. Pure."""
