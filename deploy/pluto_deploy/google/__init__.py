"""Google Cloud as a target of the engine: Confidential Space (a container), and a TDX machine from our own image.

    wanted      what DEPLOYMENT.toml says of it        names, bodies, metadata, machines   pure
    auth        who we are                             compute, objects, operations        thin calls
    target      the engine's steps                     costs                               what is there and is paid for

Why addresses move and nothing balances: docs/decisions/0019-google.md.
"""
