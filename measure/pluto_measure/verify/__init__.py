"""Is evidence authentic? Parsed in, verified out; whether it is accepted is for `appraise` to say."""
