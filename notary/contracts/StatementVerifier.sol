// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {KeyRegistry} from "./KeyRegistry.sol";
import {Signature, Signatures} from "./Signatures.sol";
import {Statement, Statements} from "./Statements.sol";

/// What a contract asks of a statement. Nothing in it may be left open.
struct Demand {
    /// keccak256 of the canonical manifest: what was asked, and what the answer had to satisfy.
    bytes32 manifest;
    /// Whose statement it must be, as a rule `msg.sender` of the contract that asks.
    address recipient;
    /// Seconds since the statement's `notBefore`.
    uint64 maxAge;
}

/// Verifies statements of notaries, once each, for the contract that calls and that the statement names.
///
/// A statement counts for its `verifyingContract` alone, which is `msg.sender` here, so that nobody else can use it up.
contract StatementVerifier is KeyRegistry {
    /// How far a notary's clock may run ahead of a block's time, in seconds.
    uint256 public constant CLOCK_SKEW = 60;
    /// How wide a statement's window may be, in seconds.
    uint256 public constant WIDEST_WINDOW = 900;

    /// Digests of the statements that were counted.
    mapping(bytes32 digest => bool) public consumed;

    event StatementConsumed(bytes32 indexed digest, address indexed consumer, address indexed recipient, address key);

    error OtherManifest();
    error OtherRecipient();
    error BadWindow();
    error FromTheFuture();
    error TooOld();
    error KeyDoesNotFit(address key);
    error AlreadyConsumed();

    constructor(address[] memory registrars, uint256 threshold) KeyRegistry(registrars, threshold) {}

    /// Count a statement of mode `fetch` that is for the calling contract. Reverts for every reason not to.
    function consumeFetch(Statement calldata statement, Signature calldata signature, Demand calldata demand)
        external
        returns (bytes32 digest)
    {
        digest = Statements.fetchDigest(statement, msg.sender);
        _consume(digest, statement, signature, demand);
    }

    /// The same for mode `observe`, which a client can forge who helps whoever has the path to the site.
    function consumeObserve(Statement calldata statement, Signature calldata signature, Demand calldata demand)
        external
        returns (bytes32 digest)
    {
        digest = Statements.observeDigest(statement, msg.sender);
        _consume(digest, statement, signature, demand);
    }

    /// Whether `consumeFetch`, called by `consumer`, would count the statement now. Reverts as it would.
    function checkFetch(
        address consumer,
        Statement calldata statement,
        Signature calldata signature,
        Demand calldata demand
    ) external view returns (bytes32 digest) {
        digest = Statements.fetchDigest(statement, consumer);
        _check(digest, statement, signature, demand);
    }

    /// Likewise for `consumeObserve`.
    function checkObserve(
        address consumer,
        Statement calldata statement,
        Signature calldata signature,
        Demand calldata demand
    ) external view returns (bytes32 digest) {
        digest = Statements.observeDigest(statement, consumer);
        _check(digest, statement, signature, demand);
    }

    function _consume(
        bytes32 digest,
        Statement calldata statement,
        Signature calldata signature,
        Demand calldata demand
    ) private {
        address key = _check(digest, statement, signature, demand);
        consumed[digest] = true;
        emit StatementConsumed(digest, msg.sender, statement.recipient, key);
    }

    function _check(
        bytes32 digest,
        Statement calldata statement,
        Signature calldata signature,
        Demand calldata demand
    ) private view returns (address key) {
        if (statement.manifest != demand.manifest) revert OtherManifest();
        // A statement that is anybody's could be shown by whoever sees it first.
        if (statement.recipient != demand.recipient || demand.recipient == address(0)) revert OtherRecipient();
        uint256 begin = statement.notBefore;
        uint256 end = statement.notAfter;
        if (end < begin || end - begin > WIDEST_WINDOW) revert BadWindow();
        if (begin > block.timestamp + CLOCK_SKEW) revert FromTheFuture();
        if (block.timestamp > begin + demand.maxAge) revert TooOld();
        key = Signatures.signer(digest, signature);
        if (!fits(key, statement.build)) revert KeyDoesNotFit(key);
        if (consumed[digest]) revert AlreadyConsumed();
    }
}
