"""Releases: what is published, who signed it, and whether a verifier accepts it.

    release.json ──statement──▶ Statement ──release──▶ Release      what is released (pure)
    signatures/* ──signature──▶ by key or certificate               who signed that (pure, but for `keyless`)
    both, trust ──judge──────▶ findings                             whether that is enough (pure)
    folder ──────folder──────▶ bytes and digests                    the only reader of files

Format: docs/formats/release.md.
"""
