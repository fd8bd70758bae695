"""The reference client, a library and `pluto-notary prove`: appraises a notary before it tells it anything.

url -> outer TLS -> upgrade -> inner TLS -> hello, evidence -> [appraisal] -> fetch -> proof
                                                                           -> observe -> TLS with the site -> proof
"""
