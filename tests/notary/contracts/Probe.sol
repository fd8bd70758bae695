// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {StatementVerifier} from "StatementVerifier.sol";
import {Statement, Statements} from "Statements.sol";

/// Shows what the library computes, for tests.
contract Probe {
    function fetchDigest(Statement calldata statement, address consumer) external view returns (bytes32) {
        return Statements.fetchDigest(statement, consumer);
    }

    function observeDigest(Statement calldata statement, address consumer) external view returns (bytes32) {
        return Statements.observeDigest(statement, consumer);
    }

    /// Bit by bit: which keys fit which builds, key by key, and then which digests are consumed; the lowest first.
    function look(
        StatementVerifier verifier,
        address[] calldata keys,
        bytes32[] calldata builds,
        bytes32[] calldata digests
    ) external view returns (uint256 bits, uint64 generation, uint32 count, uint32 threshold) {
        uint256 bit = 1;
        for (uint256 i = 0; i < keys.length; ++i) {
            for (uint256 j = 0; j < builds.length; ++j) {
                if (verifier.fits(keys[i], builds[j])) bits |= bit;
                bit <<= 1;
            }
        }
        for (uint256 i = 0; i < digests.length; ++i) {
            if (verifier.consumed(digests[i])) bits |= bit;
            bit <<= 1;
        }
        (generation, count, threshold) = verifier.terms();
    }

    function valueDigest(bytes32 salt, bytes memory json) external pure returns (bytes32) {
        return Statements.valueDigest(salt, json);
    }

    function requireValue(
        Statement calldata statement,
        uint256 index,
        string memory id,
        bytes32 salt,
        bytes memory json
    ) external pure {
        Statements.requireValue(statement, index, id, salt, json);
    }
}
