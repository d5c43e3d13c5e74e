//! one conversation
