//! Stage 7: records become findings.
