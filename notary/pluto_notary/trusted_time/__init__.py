"""What time it is, by the word of several operators and of nobody who owns the machine. docs/decisions/0016."""
