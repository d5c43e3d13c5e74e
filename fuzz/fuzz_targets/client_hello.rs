//! Reads a ClientHello, and makes a record's hello of it: fingerprints, lists, text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    record::copy::{Interner, Place},
    tls::{client_hello::ClientHelloView, fingerprint::Carrier},
};

fuzz_target!(|body: &[u8]| {
    let Ok(hello) = ClientHelloView::parse(body) else {
        return;
    };
    let mut interner = Interner::new(2);
    let place = Place {
        frame: 1,
        segments: 1,
    };
    let mut make = || interner.client_hello(&hello, Some(0x0301), 4, Carrier::Tcp, 64, place);
    let (first, again) = (make(), make());
    assert_eq!(first, again);
    assert!(first.shape.extensions.len() <= 64 && first.shape.cipher_suites.len() <= 64);
    assert_eq!(first.shape.ja4.len(), 36);
});
