// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

/// One value of a statement: keccak256(salt ‖ canonical JSON).
struct Value {
    string id;
    bytes32 digest;
}

/// What a notary saw of a web site. The mode is not in here: each has a type and functions of its own.
struct Statement {
    string host;
    bytes32 certificate;
    bytes32 manifest;
    Value[] values;
    bytes32 session;
    bytes32 nonce;
    address recipient;
    uint64 notBefore;
    uint64 notAfter;
    bytes32 build;
}

/// Digests of statements (EIP-712) and their values, as docs/formats/proof.md has them.
library Statements {
    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VALUE_TYPE = keccak256("Value(string id,bytes32 digest)");
    bytes32 internal constant FETCH_TYPE = keccak256(
        "FetchStatement(string mode,string host,bytes32 certificate,bytes32 manifest,Value[] values,bytes32 session,"
        "bytes32 nonce,address recipient,uint64 notBefore,uint64 notAfter,bytes32 build)Value(string id,bytes32 digest)"
    );
    bytes32 internal constant OBSERVE_TYPE = keccak256(
        "ObserveStatement(string mode,string host,bytes32 certificate,bytes32 manifest,Value[] values,bytes32 session,"
        "bytes32 nonce,address recipient,uint64 notBefore,uint64 notAfter,bytes32 build)Value(string id,bytes32 digest)"
    );
    bytes32 private constant NAME = keccak256("Pluto TEE notary");
    bytes32 private constant VERSION = keccak256("2");
    bytes32 private constant FETCH = keccak256("fetch");
    bytes32 private constant OBSERVE = keccak256("observe");

    error NotThisValue();

    /// What was signed if the notary asked the site itself, for a contract on this chain.
    function fetchDigest(Statement calldata statement, address consumer) internal view returns (bytes32) {
        return _digest(FETCH_TYPE, FETCH, statement, consumer);
    }

    /// What was signed if the notary only watched the client ask.
    function observeDigest(Statement calldata statement, address consumer) internal view returns (bytes32) {
        return _digest(OBSERVE_TYPE, OBSERVE, statement, consumer);
    }

    /// Reverts unless value number `index` has this id and this content. A revealed value has a salt of zeros.
    function requireValue(
        Statement calldata statement,
        uint256 index,
        string memory id,
        bytes32 salt,
        bytes memory json
    ) internal pure {
        if (index >= statement.values.length) revert NotThisValue();
        Value calldata value = statement.values[index];
        if (keccak256(bytes(value.id)) != keccak256(bytes(id))) revert NotThisValue();
        if (value.digest != valueDigest(salt, json)) revert NotThisValue();
    }

    /// The digest of a value. The salt has a fixed size, so nothing moves between it and the value.
    function valueDigest(bytes32 salt, bytes memory json) internal pure returns (bytes32) {
        return keccak256(bytes.concat(salt, json));
    }

    /// EIP-712's digest for a domain of this chain.
    function typedDigest(bytes32 name, bytes32 version, address verifying, bytes32 hash)
        internal
        view
        returns (bytes32)
    {
        // Computed anew each time: after a fork of the chain the old signatures are for one side only.
        bytes32 separator = keccak256(abi.encode(DOMAIN_TYPE, name, version, block.chainid, verifying));
        return keccak256(bytes.concat(hex"1901", separator, hash));
    }

    function _digest(bytes32 kind, bytes32 mode, Statement calldata statement, address consumer)
        private
        view
        returns (bytes32)
    {
        bytes memory head = abi.encode(
            kind,
            mode,
            keccak256(bytes(statement.host)),
            statement.certificate,
            statement.manifest,
            _valuesHash(statement.values)
        );
        bytes memory tail = abi.encode(
            statement.session,
            statement.nonce,
            statement.recipient,
            statement.notBefore,
            statement.notAfter,
            statement.build
        );
        return typedDigest(NAME, VERSION, consumer, keccak256(bytes.concat(head, tail)));
    }

    function _valuesHash(Value[] calldata values) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            hashes[i] = keccak256(abi.encode(VALUE_TYPE, keccak256(bytes(values[i].id)), values[i].digest));
        }
        return keccak256(abi.encodePacked(hashes));
    }
}
