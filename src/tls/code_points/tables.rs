//! The static tables and associated constants that `build.rs` makes from `data/*.tsv`.

use super::{
    AlertDescription, AlertEntry, AlertLevel, Authentication, CipherMode, ContentType,
    ExtensionEntry, ExtensionType, GroupEntry, GroupKind, HandshakeType, KeyExchange, Mac,
    NamedGroup, PrfHash, SignatureEntry, SignatureScheme, SuiteEntry, Version, VersionEntry,
    VersionRank, WindowsRelease,
};

include!(concat!(env!("OUT_DIR"), "/code_points.rs"));
