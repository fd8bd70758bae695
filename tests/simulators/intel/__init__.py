"""A pretend Intel: certificates, CRLs, TCB info, QE identities and TDX quotes of every status and every defect.

It shares no code with the parsers that it tests: bytes are written by hand here, with `cryptography` for keys, X.509
and signatures. Begin with `healthy()` or `world(platform="OutOfDate", qe="Revoked")`, then change one thing:

    healthy().with_report(tdattributes=DEBUG).quote
    healthy().with_quote(sign_with=key_of("mallory")).quote
    healthy().with_collateral(info=tcb_info(evaluation=17)).collateral
    healthy().with_members(tcb_info=healthy().collateral["tcb_info"].replace("Revoked", "UpToDate")).collateral

`authority` has Intel and its PCK certificates, `certificates` their form, `der` the SGX extension, `documents` TCB
info, QE identity and collateral, `quotes` reports and quotes, `pcs` the answers of a collateral service, `worlds` all
of it together.
"""

from .authority import COMMON_NAMES, Authority, Pck
from .certificates import NOW, Form, Issued, Key, issue, key_of, name_of, raw_public, raw_signature
from .der import (
    SGX_EXTENSION,
    Machine,
    boolean,
    encode_members,
    enumerated,
    integer,
    octets,
    sgx_extension,
    sgx_members,
    tcb_members,
)
from .documents import (
    ABSENT,
    EARLY_LEVELS,
    EVALUATION,
    MODULE,
    MODULE_LEVELS,
    PLATFORM,
    PLATFORM_LEVELS,
    QE,
    QE_LEVELS,
    QE_MRSIGNER,
    TDX_MICROCODE,
    ModuleIdentity,
    SvnLevel,
    TcbLevel,
    collateral,
    compact,
    instant,
    qe_identity,
    tcb_info,
)
from .pcs import CHAIN_HEADERS, OLD_TCB_HEADER, PATHS, pcs_response
from .quotes import (
    BODY_SIZES,
    DEBUG,
    INTEL_VENDOR,
    KL,
    MIGRATABLE,
    PERFMON,
    PKS,
    SEPT_VE_DISABLE,
    SGX,
    SGX_BODY,
    TD10,
    TD15,
    TD15EX,
    TDX,
    EnclaveReport,
    Quote,
    TdReport,
    quote,
    tee_tcb_svn,
)
from .worlds import World, healthy, world

__all__ = [
    "ABSENT",
    "BODY_SIZES",
    "CHAIN_HEADERS",
    "COMMON_NAMES",
    "DEBUG",
    "EARLY_LEVELS",
    "EVALUATION",
    "INTEL_VENDOR",
    "KL",
    "MIGRATABLE",
    "MODULE",
    "MODULE_LEVELS",
    "NOW",
    "OLD_TCB_HEADER",
    "PATHS",
    "PERFMON",
    "PKS",
    "PLATFORM",
    "PLATFORM_LEVELS",
    "QE",
    "QE_LEVELS",
    "QE_MRSIGNER",
    "SEPT_VE_DISABLE",
    "SGX",
    "SGX_BODY",
    "SGX_EXTENSION",
    "TD10",
    "TD15",
    "TD15EX",
    "TDX",
    "TDX_MICROCODE",
    "Authority",
    "EnclaveReport",
    "Form",
    "Issued",
    "Key",
    "Machine",
    "ModuleIdentity",
    "Pck",
    "Quote",
    "SvnLevel",
    "TcbLevel",
    "TdReport",
    "World",
    "boolean",
    "collateral",
    "compact",
    "encode_members",
    "enumerated",
    "healthy",
    "instant",
    "integer",
    "issue",
    "key_of",
    "name_of",
    "octets",
    "pcs_response",
    "qe_identity",
    "quote",
    "raw_public",
    "raw_signature",
    "sgx_extension",
    "sgx_members",
    "tcb_info",
    "tcb_members",
    "tee_tcb_svn",
    "world",
]
