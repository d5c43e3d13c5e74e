use super::*;
use proptest::prelude::*;

const LIMITS: MachineLimits = MachineLimits {
    message_bytes_max: 4096,
    messages_max: 64,
};

/// A message of this kind and number whose body is `body`, cut at `at`.
fn piece(kind: u8, sequence: u16, body: &[u8], at: core::ops::Range<usize>) -> Vec<u8> {
    let three = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let mut out = vec![kind];
    out.extend(three(body.len()));
    out.extend(sequence.to_be_bytes());
    out.extend(three(at.start));
    out.extend(three(at.len()));
    out.extend(&body[at]);
    out
}

fn record(kind: u8, epoch: u16, fragment: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, 0xfe, 0xfd];
    out.extend(epoch.to_be_bytes());
    out.extend([0, 0, 0, 0, 0, 9]);
    out.extend((fragment.len() as u16).to_be_bytes());
    out.extend(fragment);
    out
}

fn client_hello(random: u8, cookie: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfe, 0xfd];
    out.extend([random; 32]);
    out.extend([0, cookie.len() as u8]);
    out.extend(cookie);
    out.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    out
}

fn server_hello() -> Vec<u8> {
    let mut out = vec![0xfe, 0xfd];
    out.extend([7; 32]);
    out.extend([0, 0xc0, 0x2b, 0]);
    out
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::ClientHello { hello, .. } => format!("client hello {:?}", hello.cookie.unwrap()),
        Event::ServerHello(hello) => format!("server hello {:04x}", hello.cipher_suite),
        Event::Certificate(list) => format!("certificate {}", list.iter().count()),
        other => format!("{other:?}"),
    }
}

fn read(machine: &mut Machine<u32>, up: bool, datagram: &[u8], place: u32) -> Vec<String> {
    let direction = if up { Direction::Up } else { Direction::Down };
    let mut found = Vec::new();
    machine.read(direction, datagram, place, &LIMITS, &mut |told| {
        found.push(format!("{} {}", told.place, name(&told.event)));
    });
    found
}

fn clear(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    record(22, 0, &piece(kind, sequence, body, 0..body.len()))
}

#[test]
fn a_cookie_exchange() {
    let mut machine = Machine::default();
    let hello = clear(1, 0, &client_hello(1, &[]));
    assert!(begins_handshake(&hello));
    assert_eq!(read(&mut machine, true, &hello, 1), ["1 client hello []"]);
    assert!(read(&mut machine, true, &hello, 2).is_empty(), "sent again");
    let verify = clear(3, 0, &[0xfe, 0xff, 1, 9]);
    assert_eq!(
        read(&mut machine, false, &verify, 3),
        ["3 HelloVerifyRequest"]
    );
    let second = clear(1, 1, &client_hello(1, &[9]));
    assert_eq!(read(&mut machine, true, &second, 4), ["4 client hello [9]"]);
    // Its number may go on, or begin again.
    let answer = clear(2, 0, &server_hello());
    assert_eq!(
        read(&mut machine, false, &answer, 5),
        ["5 server hello c02b"]
    );
    assert!(read(&mut machine, false, &answer, 6).is_empty());
}

#[test]
fn another_random_is_another_handshake() {
    let mut machine = Machine::default();
    read(&mut machine, true, &clear(1, 0, &client_hello(1, &[])), 1);
    read(&mut machine, false, &clear(2, 0, &server_hello()), 2);
    let again = clear(1, 0, &client_hello(2, &[]));
    let mut anew = Vec::new();
    machine.read(Direction::Up, &again, 3, &LIMITS, &mut |told| {
        anew.push(told.anew)
    });
    assert_eq!(anew, [true]);
    let answer = clear(2, 0, &server_hello());
    assert_eq!(read(&mut machine, false, &answer, 4).len(), 1);
}

#[test]
fn a_missing_message_holds_nothing_back_for_good() {
    let mut machine = Machine::default();
    read(&mut machine, true, &clear(1, 0, &client_hello(1, &[])), 1);
    assert!(read(&mut machine, true, &clear(16, 2, &[1, 2]), 2).is_empty());
    let ccs = record(20, 0, &[1]);
    let found = read(&mut machine, true, &ccs, 3);
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("2 Message"), "{found:?}");
    assert_eq!(found[1], "3 ChangeCipherSpec");
}

#[test]
fn encrypted_records_of_all_versions() {
    let mut machine = Machine::default();
    assert_eq!(
        read(&mut machine, true, &record(22, 1, &[9; 40]), 1),
        ["1 EncryptedHandshake"]
    );
    assert_eq!(
        read(&mut machine, true, &record(23, 1, &[9; 40]), 1),
        ["1 ApplicationData { length: 40 }"]
    );
    // DTLS 1.3: epoch 2, then 3, with lengths; then one that takes the rest of the datagram.
    let datagram = [
        0x2e, 0, 1, 0, 3, 9, 9, 9, 0x2f, 0, 2, 0, 1, 9, 0x2b, 0, 3, 1,
    ];
    assert_eq!(
        read(&mut machine, true, &datagram, 2),
        [
            "2 EncryptedHandshake",
            "2 ApplicationData { length: 1 }",
            "2 ApplicationData { length: 4 }"
        ]
    );
}

#[test]
fn the_caps_hold() {
    let mut machine = Machine::default();
    let body = vec![0; 4096];
    for sequence in 0..100 {
        // Pieces at the far end, whose beginnings never come.
        let fragment = piece(11, sequence, &body, 4000..4096);
        read(&mut machine, true, &record(22, 0, &fragment), 1);
    }
    assert!(machine.heap_bytes() <= 2 * LIMITS.message_bytes_max);
    let mut long = piece(11, 0, &[0; 10], 0..10);
    long[1] = 0xff;
    assert_eq!(
        read(&mut machine, false, &record(22, 0, &long), 2),
        ["2 TooLong"]
    );
}

#[test]
fn every_prefix_and_flip_is_survived() {
    let mut datagram = clear(1, 0, &client_hello(1, &[5; 20]));
    datagram.extend(record(22, 0, &piece(11, 1, &[0; 60], 10..30)));
    datagram.extend(record(20, 0, &[1]));
    for end in 0..datagram.len() {
        read(&mut Machine::default(), true, &datagram[..end], 1);
        for bit in 0..8 {
            let mut flipped = datagram.clone();
            flipped[end] ^= 1 << bit;
            let mut machine = Machine::default();
            read(&mut machine, true, &flipped, 1);
            machine.end(Direction::Up, &mut |_| ());
        }
    }
}

proptest! {
    #[test]
    fn any_order_and_overlap_gives_the_same_handshake(
        cuts in prop::collection::vec((0usize..3, 0usize..200, 1usize..120), 0..30),
        order in any::<u64>(),
    ) {
        let bodies = [(2u8, server_hello()), (11, [&[0, 0, 150, 0, 0, 147][..], &[8; 147]].concat()), (14, vec![])];
        let mut datagrams = Vec::new();
        for (sequence, (kind, body)) in bodies.iter().enumerate() {
            for (_, from, length) in cuts.iter().filter(|cut| cut.0 == sequence) {
                let (from, to) = (*from.min(&body.len()), (from + length).min(body.len()));
                if from < to {
                    datagrams.push(record(22, 0, &piece(*kind, sequence as u16, body, from..to)));
                }
            }
            // What the random cuts leave out.
            let half = body.len() / 2;
            datagrams.push(record(22, 0, &piece(*kind, sequence as u16, body, 0..half)));
            datagrams.push(record(22, 0, &piece(*kind, sequence as u16, body, half..body.len())));
        }
        // A shuffle told by `order`.
        let mut state = order | 1;
        for last in (1..datagrams.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            datagrams.swap(last, (state >> 33) as usize % (last + 1));
        }
        let mut machine = Machine::default();
        let mut found = Vec::new();
        for datagram in &datagrams {
            found.extend(read(&mut machine, false, datagram, 0));
        }
        prop_assert_eq!(
            found,
            ["0 server hello c02b", "0 certificate 1", "0 Message(HandshakeType(14))"]
        );
    }
}
