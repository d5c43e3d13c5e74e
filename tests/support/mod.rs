//! What tests share.

#![allow(dead_code)]

pub mod netmon;
pub mod trace;
pub mod windows;
pub mod xpress;
