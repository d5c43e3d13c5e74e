//! What findings remember of a finished handshake: at most 256 bytes, measured at the allocator.

#![allow(clippy::unwrap_used)] // a test that can't go on shall stop
#![allow(unsafe_code)] // to be an allocator is an unsafe promise; this one only counts and hands on

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};
use support::run;
use tlscope::{
    findings::{Diagnosis, Settings},
    record::{Handshake, Timestamp},
};

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

fn change(by: impl FnOnce(usize) -> usize) {
    // A thread that ends may still allocate when its counter is gone.
    let _ = LIVE.try_with(|live| live.set(by(live.get())));
}

// SAFETY: every call goes to the system's allocator as it is, and counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(|live| live.wrapping_add(layout.size()));
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        change(|live| live.wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn live() -> usize {
    LIVE.with(Cell::get)
}

/// Finished handshakes of the bundled captures.
fn examples() -> Vec<Handshake> {
    ["tls12.pcap", "tls13.pcap", "resumption.pcap", "ecdsa.pcap"]
        .iter()
        .flat_map(|name| run::files(&[Path::new("captures").join(name)], &run::options()).records)
        .collect()
}

/// The same handshake of another client, at another time.
fn vary(record: &mut Handshake, number: u32) {
    record.client.ip = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + number % 50_000));
    record.server.ip = IpAddr::V4(Ipv4Addr::from(0xC000_0200 + number % 200));
    record.start = Timestamp(1_700_000_000_000_000_000 + i64::from(number) * 1_000_000);
    record.end = Timestamp(record.start.0 + 20_000_000);
}

/// A handshake that has less in common with any other: findings compare names, and what the path let through.
fn differ(record: &mut Handshake, number: u32) {
    vary(record, number);
    if let Some(hello) = &mut record.client_hello {
        hello.sni = Some(format!("{}.example", number % 2_000).into());
    }
    record.observed.get_or_insert_default().server_mss = u16::try_from(number / 2_000).ok();
}

#[test]
fn a_finished_handshake_costs_at_most_256_bytes() {
    costs_at_most_256_bytes(vary);
}

#[test]
fn one_that_is_like_no_other_does_not_cost_more() {
    costs_at_most_256_bytes(differ);
}

fn costs_at_most_256_bytes(make: fn(&mut Handshake, u32)) {
    // Just beyond powers of two, where a list that doubles is half empty.
    const COUNTS: [u32; 3] = [70_000, 132_000, 263_000];
    let mut examples = examples();
    assert!(examples.len() >= 4);
    let settings = Settings {
        // Enough for all, with what they take at the end.
        history_bytes_max: 512 << 20,
        ..Settings::default()
    };
    let mut diagnosis = Diagnosis::new(&settings);
    let mut number = 0;
    let mut add = |diagnosis: &mut Diagnosis, until: u32| {
        while number < until {
            let at = number as usize % examples.len();
            make(&mut examples[at], number);
            diagnosis.add(&examples[at]);
            number += 1;
        }
    };
    // Shapes, names and certificates, which all later ones share, and the groups of findings.
    add(&mut diagnosis, 2_000);
    let before = live();
    for count in COUNTS {
        add(&mut diagnosis, count);
        let each = (live() - before) / (count as usize - 2_000);
        eprintln!("{count} handshakes: {each} bytes each");
        assert!(each <= 256, "{count}: {each}");
    }
    assert_eq!(diagnosis.handshakes_forgotten(), 0);
}

#[test]
fn past_the_cap_nothing_grows_and_what_goes_is_counted() {
    let settings = Settings {
        history_bytes_max: 4 << 20,
        ..Settings::default()
    };
    let mut example = examples().remove(0);
    let mut diagnosis = Diagnosis::new(&settings);
    let before = live();
    for number in 0..60_000 {
        vary(&mut example, number);
        diagnosis.add(&example);
    }
    let held = live() - before;
    assert!(held <= settings.history_bytes_max, "{held}");
    let forgotten = diagnosis.handshakes_forgotten();
    assert!((40_000..60_000).contains(&forgotten), "{forgotten}");
}
