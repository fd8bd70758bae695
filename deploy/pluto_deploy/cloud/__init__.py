"""What clouds have in common: one door to their REST interfaces, long uploads, and blocks of a sparse disk.

door            one request and its answer: token, retries, deadlines, errors as fields; attempts: what it decides by
place           where a request may go
blocks          a file that is mostly zeros, and its digests; crc32c: one of them
parallel        several requests at once
layout          one image of an OCI layout, checked
registry        that image into a registry; registry_token: what a registry wants to be shown
"""
