"""Makes a bare-metal host ready for trust domains: what should be is decided purely, pyinfra carries it out.

places    what is on a prepared host beyond `metal.layout`     files      the files, from the templates. Pure.
options   what the operator wants                              wanted     the decision. Pure.
sight     what is looked at before                             record     /etc/pluto/host.json
deploy    the operations, in the worker                        command    `pluto-deploy host prepare`
"""
