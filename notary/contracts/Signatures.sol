// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

/// A signature of secp256k1 from which the signer is recovered.
struct Signature {
    bytes32 r;
    bytes32 s;
    uint8 v;
}

/// Whose signature it is. Of the two spellings that every signature has, one is taken.
library Signatures {
    /// Half of the curve's order, rounded down (SEC 2, section 2.4.1; EIP-2).
    uint256 internal constant HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    error BadSignature();

    function signer(bytes32 digest, Signature calldata signature) internal pure returns (address found) {
        if (uint256(signature.s) > HIGHEST_S || (signature.v != 27 && signature.v != 28)) revert BadSignature();
        found = ecrecover(digest, signature.v, signature.r, signature.s);
        // The precompile answers zero for r or s of zero, for r above the order, and where no key fits.
        if (found == address(0)) revert BadSignature();
    }
}
