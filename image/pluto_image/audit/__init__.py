"""Known vulnerabilities of what is in a build, judged by a policy: all pure but `fetch`. Format: docs/formats/audit.md.

inside → what of which package is in the image; tracker, rebuilders, running → what others say; judge → what follows.
"""
