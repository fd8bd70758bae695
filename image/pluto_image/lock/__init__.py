"""The lock: every input of a build by hash; made from signed lists, read strictly, and compared with another one."""
