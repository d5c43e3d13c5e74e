//! Reads DNS messages as a client's questions and their answers, over UDP and TCP: no message says more than its bytes,
//! and what is kept stays within its caps.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tlscope::{
    capture::Catalog,
    connection::{
        Arrival,
        dns::{Desk, Parties},
    },
    dns::message::{Answer, Message},
    limits::Limits,
    record::EchAnswers,
    stats::Counters,
};

const LOOKUPS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 4 * 255;

fn read(message: &Message<'_>, bytes: usize, name: &mut Vec<u8>) {
    if message.question(name).is_some() {
        assert!(name.len() <= NAME_BYTES_MAX);
    }
    let mut answers = 0;
    for answer in message.answers() {
        answers += 1;
        match answer {
            Answer::Address(_) => {}
            Answer::Alias(at) => {
                if message.name(at, name).is_some() {
                    assert!(name.len() <= NAME_BYTES_MAX);
                }
            }
            Answer::Service(service) => {
                let configs = service.ech_configs().map(|config| config.suites().count());
                assert!(configs.sum::<usize>() <= bytes);
                assert!(service.alpn().map(<[u8]>::len).sum::<usize>() <= bytes);
                assert!(service.hints().count() <= bytes);
                let _ = (service.port(), service.no_default_alpn());
            }
        }
    }
    assert!(answers <= bytes);
}

// Messages behind lengths of two bytes, as over TCP; the top bit of a length says that it came so.
fuzz_target!(|bytes: &[u8]| {
    let limits = Limits {
        dns_lookups_max: LOOKUPS_MAX,
        ..Limits::default()
    };
    let (mut desk, mut known) = (Desk::default(), EchAnswers::default());
    let mut counters = Counters::default();
    let mut name = Vec::new();
    let (mut rest, mut order) = (bytes, 0);
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high & 0x7f, low])).min(after.len());
        let (message, behind) = after.split_at(length);
        rest = behind;
        if let Some(message) = Message::parse(message) {
            read(&message, length, &mut name);
        }
        let client = [10, 0, 0, low & 3].into();
        let parties = Parties {
            client: (client, 50_000),
            server: [10, 0, 0, 53].into(),
            tcp: high & 0x80 != 0,
        };
        let arrival = Arrival {
            time_ns: i64::from(low) << 28,
            frame: order + 1,
            order,
            capture: 0,
            point: 0,
            interface: 0,
            noted: None,
        };
        desk.take(parties, message, arrival, &limits, &mut counters);
        order += 1;
        for (_, answer) in desk.ech.drain(..) {
            known.learn(answer, LOOKUPS_MAX);
        }
    }
    desk.tick(1 << 40, &limits);
    let mut dns = desk.finish(1 << 40, &Catalog::default());
    dns.settle();
    assert!(dns.lookups.len() <= LOOKUPS_MAX);
    for lookup in &dns.lookups {
        assert!(lookup.services.len() <= 8 && lookup.addresses.len() <= 32);
        assert!(lookup.name.len() <= NAME_BYTES_MAX);
    }
});
