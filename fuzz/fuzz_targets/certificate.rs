//! Reads a Certificate message and each certificate in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{record::copy::Interner, tls::certificate::CertificateList};

fuzz_target!(|body: &[u8]| {
    let mut interner = Interner::new(4);
    for der in CertificateList::parse(body).iter().take(16) {
        let first = interner.certificate(der);
        assert_eq!(first, interner.certificate(der));
    }
    // Taken as one certificate, too: lengths seldom fit twice.
    interner.certificate(body);
});
