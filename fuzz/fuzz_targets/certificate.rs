//! Reads a Certificate message and each certificate in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{record::copy::Interner, tls::certificate::CertificateList};

fuzz_target!(|body: &[u8]| {
    let mut interner = Interner::new(4);
    let list = CertificateList::parse(body);
    let first = interner.chain(list, 16);
    assert_eq!(first, interner.chain(list, 16));
    for (der, known) in list.iter().zip(&first) {
        assert_eq!(interner.leaf(der).first(), Some(known));
    }
    interner.chain(CertificateList::parse_tls13(body), 16);
    // Taken as one certificate, too: lengths seldom fit twice.
    interner.leaf(body);
});
