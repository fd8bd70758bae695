"""Azure: trust domains from a disk of our own, specialized, so that no guest has to report itself ready.

wanted, names              what DEPLOYMENT.toml says of it, and what everything is called. Pure
auth                       who we are
arm, page_blob, serial     thin calls; answers and errors read what comes back
bodies, seen               what is sent, and a deployment as it was found; looking finds it
disks, galleries, kept     a release there: a disk, or an image of a gallery; and what lies beside it here
leading, claim             how clients come, who is at work
preflight, costs           what is known before, and what is paid for; rendering: what would be sent
target, opening            the engine's steps, and the way to them
"""
