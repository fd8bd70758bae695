"""Google's services as far as a deployment sees them, stricter than the real ones. For tests alone."""
