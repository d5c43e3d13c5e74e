//! Stage 5: bytes become handshake facts, as borrowed views only.

/// One table of each registry: number, name, attributes.
pub mod code_points;
