"""One engine for every target: what is wanted and what is there give a plan; a plan is carried out, step by step.

DEPLOYMENT.toml + release ──▶ Wish ─┐
                                    ├─ plan ──▶ Steps ──▶ Target ──▶ gate (evidence) ──▶ switch
target, looked at ───────▶ Scene ───┘
"""
