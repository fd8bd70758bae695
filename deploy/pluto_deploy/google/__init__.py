"""Google Cloud as a target of the engine: Confidential Space (a container), and a TDX machine from our own image.

wanted, names                        what DEPLOYMENT.toml says of it, and what everything is called. Pure
auth, credentials                    who we are
compute, objects, storage            thin calls; operations waits for them, reply and errors read what comes back
machines, bodies, making, metadata   machines as they are and as they are asked for. Pure
releases, leading, lease             what is kept there, how clients come, who is at work
preflight, readiness, costs          what is known before and after, and what is paid for; rendering: what would be sent
target, opening                      the engine's steps, and the way to them

Why addresses move and nothing balances: docs/decisions/0019-google.md.
"""
