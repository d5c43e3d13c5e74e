//! The tlscope command.
fn main() {}
