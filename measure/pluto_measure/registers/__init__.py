"""Registers: what extends them, what each may hold, and a machine's own against reference values. Pure."""
