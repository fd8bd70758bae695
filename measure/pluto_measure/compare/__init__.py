"""Compare a machine's log with the expected one: align by role, name what differs, say what it means. Pure."""
