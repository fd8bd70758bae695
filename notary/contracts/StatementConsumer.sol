// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Signature} from "./Signatures.sol";
import {Statement, Statements} from "./Statements.sol";
import {Demand, StatementVerifier} from "./StatementVerifier.sol";

/// For contracts that act on what a web site says. Inherit it, call `_consume`, then read values by `_value`.
abstract contract StatementConsumer {
    StatementVerifier public immutable verifier;

    constructor(StatementVerifier verifier_) {
        verifier = verifier_;
    }

    /// Count a statement that the sender of this call owns and shows. Reverts for every reason not to.
    function _consume(Statement calldata statement, Signature calldata signature, bytes32 manifest, uint64 maxAge)
        internal
        returns (bytes32 digest)
    {
        return verifier.consumeFetch(statement, signature, Demand(manifest, msg.sender, maxAge));
    }

    /// Reverts unless value number `index` is called `id` and is `json`, which is revealed (a salt of zeros).
    function _value(Statement calldata statement, uint256 index, string memory id, bytes memory json) internal pure {
        Statements.requireValue(statement, index, id, 0, json);
    }

    /// The same for a committed value, opened by its salt.
    function _value(
        Statement calldata statement,
        uint256 index,
        string memory id,
        bytes32 salt,
        bytes memory json
    ) internal pure {
        Statements.requireValue(statement, index, id, salt, json);
    }
}
