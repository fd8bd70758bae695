"""pyinfra, in a process of its own: `process` starts it, `__main__` is it, `jobs` is what it can do."""
