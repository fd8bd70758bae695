"""How this machine proves itself: a helper that alone may use the quoting device, and the notary's side of it.

    notary --{purpose, nonce, outerKeyDigest}--> helper --(B computed here, configuration digest read here)--> TPM

The notary hands over typed claims and never bytes to be quoted, so that a taken-over notary cannot get evidence that
says something else than what it is.
"""
