//! Reads a ServerHello, and makes a record's hello of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    record::copy::{Interner, Place},
    tls::server_hello::ServerHelloView,
};

fuzz_target!(|body: &[u8]| {
    let views = [
        ServerHelloView::parse(body),
        ServerHelloView::parse_draft_retry(body),
    ];
    for hello in views.into_iter().flatten() {
        let place = Place {
            frame: 1,
            segments: 1,
        };
        let owned = Interner::new(2).server_hello(&hello, false, 64, place);
        assert!(owned.shape.extensions.len() <= 64);
    }
});
