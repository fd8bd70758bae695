"""Azure: trust domains from a disk of our own, specialized, so that no guest has to report itself ready.

wanted      what DEPLOYMENT.toml says about it       auth, errors, arm   tokens, refusals in words, one request
names       what everything is called, and tags      bodies              what is sent. Pure
answers     what comes back, read strictly           seen, costs         a deployment as it was found. Pure
disks       a release's disk, uploaded               galleries           a release as an image of a gallery
preflight   what can be known before                 target, opening     the engine's steps, and the way to them
"""
