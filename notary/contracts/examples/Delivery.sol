// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Signature} from "../Signatures.sol";
import {Statement} from "../Statements.sol";
import {StatementConsumer} from "../StatementConsumer.sol";
import {StatementVerifier} from "../StatementVerifier.sol";

/// Remembers who showed that a shop says: delivered.
contract Delivery is StatementConsumer {
    /// The digest of the manifest that asks the shop, as `pluto-notary manifest check` prints it.
    bytes32 public immutable manifest;
    mapping(address buyer => bool) public delivered;

    constructor(StatementVerifier verifier_, bytes32 manifest_) StatementConsumer(verifier_) {
        manifest = manifest_;
    }

    /// Sent by the statement's recipient. The manifest has one value, `state`, which the statement reveals.
    function claim(Statement calldata statement, Signature calldata signature) external {
        _consume(statement, signature, manifest, 1 hours);
        _value(statement, 0, "state", '"delivered"');
        delivered[msg.sender] = true;
    }
}
