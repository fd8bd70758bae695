"""A machine as far as it decides what a boot measures: its shape, its firmware, and what its VMM adds. Pure."""
