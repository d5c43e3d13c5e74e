//! facts to record
