//! The fast path allocates nothing: a hello that lies in one segment is read where it lies, from the packet to the
//! last extension, and a stream in order only lends. What is counted is every call to the allocator in this thread.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop
#![allow(unsafe_code)] // to be an allocator is an unsafe promise; this one only counts and hands on

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};
use support::{
    packets::{ACK, Tcp},
    tls::{self, Hello},
};
use tlscope::{
    capture::LinkType,
    detect::{Verdict, detect},
    flow::{Answer, Direction, Lent, Seq, Stream, StreamLimits},
    limits::Limits,
    packet::{Decoded, Encapsulation, decode},
    tls::{
        client_hello::ClientHelloView,
        handshake::{Event, Machine, MachineLimits},
        server_hello::ServerHelloView,
    },
};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Bytes as a stream lends them where nothing is missing.
fn whole(bytes: &[u8]) -> Lent<'_> {
    Lent {
        bytes,
        segments: 1,
        after_gap: false,
        before_gap: false,
        repeated: 0,
        stamp: 0,
    }
}

fn count() {
    // A thread that ends may still allocate when its counter is gone.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it is, and counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that `run` makes.
fn allocations<T>(run: impl FnOnce() -> T) -> u64 {
    let before = COUNT.get();
    black_box(run());
    COUNT.get() - before
}

const MACHINE_LIMITS: MachineLimits = MachineLimits {
    message_bytes_max: 256 << 10,
    messages_max: 64,
};
const STREAM_LIMITS: StreamLimits = StreamLimits {
    parked_bytes_max: 256 << 10,
    parked_segments_max: 256,
};

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| Box::new(7)), 1);
    assert_eq!(allocations(|| 7), 0);
}

#[test]
fn hellos_are_read_where_they_lie() {
    for hello in [Hello::default(), Hello::post_quantum()] {
        let body = hello.body();
        assert_eq!(
            allocations(|| {
                let view = ClientHelloView::parse(&body).unwrap();
                assert!(!view.malformed);
                let details = view.details();
                assert_eq!(details.sni, Some(&b"www.contoso.com"[..]));
                assert_eq!(details.alpn_names().count(), 2);
                assert!(details.key_share_groups().count() >= 1);
                assert_eq!(details.version_max(view.legacy_version), 0x0304);
                view.cipher_suites.iter().count() + view.extensions.iter().count()
            }),
            0
        );
    }
    let answer = tls::server_hello(0xc02f, Some("h2"));
    assert_eq!(
        allocations(|| {
            let view = ServerHelloView::parse(&answer[4..]).unwrap();
            assert_eq!(view.details().alpn, Some(&b"h2"[..]));
            view.random_tail().is_some()
        }),
        0
    );
}

#[test]
fn the_machine_reads_whole_records_in_place() {
    let limits = MACHINE_LIMITS;
    let flights = tls::flights(&Hello::default());
    let mut machine = Machine::default();
    let (mut events, mut hellos) = (0, 0);
    let count = allocations(|| {
        for (who, bytes) in &flights {
            let direction = [Direction::Up, Direction::Down][*who as usize];
            assert_eq!(detect(&flights[0].1, false), Verdict::Tls);
            machine.read(direction, &whole(bytes), &limits, None, &mut |event| {
                events += 1;
                hellos += u32::from(matches!(
                    event,
                    Event::ClientHello { .. } | Event::ServerHello(_)
                ));
            });
        }
    });
    assert_eq!((count, hellos), (0, 2));
    assert!(events >= 10);
    assert_eq!(machine.heap_bytes(), 0);
}

#[test]
fn a_stream_in_order_only_lends() {
    let payload = Hello::default().record();
    let mut stream = Stream::default();
    let (mut at, mut lent) = (Seq(u32::MAX - 1000), 0);
    stream.anchor(at);
    let count = allocations(|| {
        for frame in 0..1000 {
            stream.push(at, &payload, 0, frame, &STREAM_LIMITS, &mut |part| {
                lent += part.bytes.len();
                Answer::Need {
                    used: part.bytes.len(),
                    more: 5,
                }
            });
            at = at.plus(payload.len());
        }
    });
    assert_eq!((count, lent), (0, 1000 * payload.len()));
    assert_eq!(stream.heap_bytes(), 0);
}

#[test]
fn packets_are_decoded_in_place() {
    let limits = Limits::default();
    let payload = Hello::default().record();
    for (from, to) in [
        ("192.0.2.10:50000", "198.51.100.25:443"),
        ("[2001:db8::1]:50000", "[2001:db8::2]:443"),
    ] {
        let frame = Tcp {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            sequence: 1,
            acknowledgement: 1,
            flags: ACK,
            options: &[1; 12],
            payload: &payload,
        }
        .ethernet();
        let mut tagged = frame[..12].to_vec();
        tagged.extend([0x81, 0x00, 0x00, 0x6e]);
        tagged.extend(&frame[12..]);
        for bytes in [&frame, &tagged] {
            let count = allocations(|| {
                let mut around = Encapsulation::default();
                match decode(LinkType::ETHERNET, bytes, &mut around, &limits) {
                    Ok(Decoded::Tcp(segment)) => assert_eq!(segment.payload, payload),
                    other => panic!("{other:?}"),
                }
            });
            assert_eq!(count, 0, "{from}");
        }
    }
}
