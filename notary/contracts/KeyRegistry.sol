// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.34;

import {Signature, Signatures} from "./Signatures.sol";
import {Statements} from "./Statements.sol";

/// What a registrar signs once it has verified a key's evidence: it is of a machine that runs this build.
struct KeyFits {
    address key;
    bytes32 buildId;
    uint64 until;
}

/// Which keys belong to notaries in trust domains, by the word of k registrars.
///
/// Registrars are programs (`pluto-notary register`) that verify evidence off the chain. Anybody submits what they
/// signed; who sends a transaction has no say. There is no owner, no proxy, no call to another contract.
abstract contract KeyRegistry {
    struct Key {
        bytes32 build;
        uint64 until;
        bool revoked;
    }

    /// The registrars in force. A registrar of an older generation is none; the first generation is 1.
    struct Terms {
        uint64 generation;
        uint32 count;
        uint32 threshold;
    }

    /// How far ahead of a block's time a key may fit: as long as Intel's collateral lives.
    uint256 public constant LONGEST = 30 days;
    uint256 public constant MOST_REGISTRARS = 32;

    bytes32 private constant FITS_TYPE = keccak256("KeyFits(address key,bytes32 buildId,uint64 until)");
    bytes32 private constant REVOKE_KEY_TYPE = keccak256("RevokeKey(address key)");
    bytes32 private constant REVOKE_BUILD_TYPE = keccak256("RevokeBuild(bytes32 buildId)");
    bytes32 private constant ROTATE_TYPE =
        keccak256("Rotate(address[] registrars,uint256 threshold,uint256 generation)");
    bytes32 private constant NAME = keccak256("Pluto TEE key registry");
    bytes32 private constant VERSION = keccak256("1");

    Terms public terms;
    mapping(address key => Key) public keys;
    mapping(bytes32 buildId => bool) public revokedBuilds;
    mapping(address registrar => uint256 generation) private _generations;

    event KeyRegistered(address indexed key, bytes32 indexed buildId, uint64 until);
    event KeyRevoked(address indexed key);
    event BuildRevoked(bytes32 indexed buildId);
    event RegistrarsChanged(uint256 indexed generation, address[] registrars, uint256 threshold);

    error BadRegistrars();
    error BadBatch();
    error NothingNamed();
    error UntilIsPast();
    error UntilIsTooFar();
    error KeyIsRevoked();
    error BuildIsRevoked();
    error KeyHasOtherBuild();
    error WrongNumberOfSignatures(uint256 needed);
    error SignersOutOfOrder();
    error NotARegistrar(address signer);

    constructor(address[] memory registrars, uint256 threshold) {
        _change(registrars, threshold);
    }

    /// Register keys, each with the signatures of `threshold` registrars, in the order of their addresses.
    ///
    /// All or none. A key that is registered already is kept for the longer time, so nobody spoils a batch by
    /// submitting a part of it first.
    function register(KeyFits[] calldata claims, Signature[][] calldata signatures) external {
        if (claims.length == 0 || claims.length != signatures.length) revert BadBatch();
        for (uint256 i = 0; i < claims.length; ++i) {
            _register(claims[i], signatures[i]);
        }
    }

    /// Revoke a key, for good and also before it was ever registered.
    function revokeKey(address key, Signature[] calldata signatures) external {
        if (key == address(0)) revert NothingNamed();
        _requireSigned(keccak256(abi.encode(REVOKE_KEY_TYPE, key)), signatures, revokers());
        keys[key].revoked = true;
        emit KeyRevoked(key);
    }

    /// Revoke a build with all its keys, for good.
    function revokeBuild(bytes32 buildId, Signature[] calldata signatures) external {
        if (buildId == 0) revert NothingNamed();
        _requireSigned(keccak256(abi.encode(REVOKE_BUILD_TYPE, buildId)), signatures, revokers());
        revokedBuilds[buildId] = true;
        emit BuildRevoked(buildId);
    }

    /// Replace the registrars by others. The signatures name the generation that begins, so none counts twice.
    function rotate(address[] calldata registrars, uint256 threshold, Signature[] calldata signatures) external {
        bytes32 list = keccak256(abi.encodePacked(registrars));
        bytes32 hash = keccak256(abi.encode(ROTATE_TYPE, list, threshold, uint256(terms.generation) + 1));
        _requireSigned(hash, signatures, terms.threshold);
        _change(registrars, threshold);
    }

    /// How many registrars revoke: as many as could keep keys out by their silence, and never more than register.
    function revokers() public view returns (uint256) {
        uint256 silent = uint256(terms.count) - terms.threshold + 1;
        return silent < terms.threshold ? silent : terms.threshold;
    }

    function isRegistrar(address account) public view returns (bool) {
        return _generations[account] == terms.generation;
    }

    /// Whether a statement that names this build and is signed by this key counts now.
    function fits(address key, bytes32 buildId) public view returns (bool) {
        Key storage known = keys[key];
        if (known.build != buildId || buildId == 0) return false;
        return block.timestamp <= known.until && !known.revoked && !revokedBuilds[buildId];
    }

    function _register(KeyFits calldata fit, Signature[] calldata signatures) private {
        if (fit.key == address(0) || fit.buildId == 0) revert NothingNamed();
        if (fit.until <= block.timestamp) revert UntilIsPast();
        if (fit.until > block.timestamp + LONGEST) revert UntilIsTooFar();
        if (revokedBuilds[fit.buildId]) revert BuildIsRevoked();
        Key storage known = keys[fit.key];
        if (known.revoked) revert KeyIsRevoked();
        // A key never leaves the machine that made it, so it has one build.
        if (known.build != fit.buildId && known.build != 0) revert KeyHasOtherBuild();
        _requireSigned(keccak256(abi.encode(FITS_TYPE, fit.key, fit.buildId, fit.until)), signatures, terms.threshold);
        if (fit.until > known.until) {
            known.build = fit.buildId;
            known.until = fit.until;
            emit KeyRegistered(fit.key, fit.buildId, fit.until);
        }
    }

    /// Reverts unless as many registrars as are needed signed. Ascending addresses: none is counted twice.
    function _requireSigned(bytes32 hash, Signature[] calldata signatures, uint256 needed) private view {
        if (signatures.length != needed) revert WrongNumberOfSignatures(needed);
        bytes32 digest = Statements.typedDigest(NAME, VERSION, address(this), hash);
        address last = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = Signatures.signer(digest, signatures[i]);
            if (signer <= last) revert SignersOutOfOrder();
            if (!isRegistrar(signer)) revert NotARegistrar(signer);
            last = signer;
        }
    }

    function _change(address[] memory registrars, uint256 threshold) private {
        uint256 count = registrars.length;
        if (count > MOST_REGISTRARS || threshold == 0 || threshold > count) revert BadRegistrars();
        uint64 generation = terms.generation + 1;
        address last = address(0);
        for (uint256 i = 0; i < count; ++i) {
            if (registrars[i] <= last) revert BadRegistrars();
            last = registrars[i];
            _generations[last] = generation;
        }
        terms = Terms(generation, uint32(count), uint32(threshold));
        emit RegistrarsChanged(generation, registrars, threshold);
    }
}
