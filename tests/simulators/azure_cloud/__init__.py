"""Azure as far as a deployment sees it: login, identity of a machine, Resource Manager, page blobs. For tests alone.

    with server.running() as azure:                 # loopback, threads
        azure.cloud                                  # its state, what is injected, what was wrong: cloud.failures

Every request is checked against schema.json (made by make_schema.py from Microsoft's packages): unknown and read-only
members, types, enumerations, what is required, the query, the version. What is wrong is answered with 400, and is in
`cloud.failures`, which the fixture wants empty. What the packages do not say (states of disks, who may be deleted when,
what goes on after 202) is in cloud.py, disks.py, machines.py and network.py, as Azure documents it.
"""
