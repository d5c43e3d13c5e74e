//! Generated captures, deterministic by seed and of any length: the handshakes of the bundled captures
//! with other addresses, ports, sequence numbers, randoms and certificates, hundreds of them interleaved.
//!
//! Used by `examples/generate.rs`, which writes them to files, and by the benches.

mod conversation;
mod frame;
mod hostile;
mod mixes;
mod output;
mod random;
mod template;

pub(crate) use output::Format;

use conversation::NOISE_BYTES;
use output::Output;
use random::Random;
use std::{
    io::{self, Write},
    path::Path,
};
use template::Template;

/// How much to write.
#[derive(Clone, Copy, Debug)]
#[allow(
    dead_code,
    reason = "not all programs that include this module ask for each"
)]
pub(crate) enum Amount {
    /// About so many bytes of capture.
    Bytes(u64),
    /// So many connections (datagrams for `udp`).
    Connections(u64),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
#[allow(
    dead_code,
    reason = "not all programs that include this module read all of it"
)]
pub(crate) struct Written {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Connections with a ClientHello.
    pub(crate) handshakes: u64,
}

/// What a mix needs to be written.
struct Studio<'a, 'w> {
    output: Output<'w>,
    random: Random,
    templates: &'a [Template],
    noise: &'a [u8],
    amount: Amount,
    handshakes: u64,
}

impl Studio<'_, '_> {
    /// The capture is as long as it should be, after `connections`.
    fn is_enough(&self, connections: u64) -> bool {
        match self.amount {
            Amount::Bytes(bytes) => self.output.written() >= bytes,
            Amount::Connections(count) => connections >= count,
        }
    }
}

/// One kind of capture.
#[allow(
    dead_code,
    reason = "not all programs that include this module read all of it"
)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    write: fn(&mut Studio<'_, '_>) -> io::Result<()>,
}

/// All kinds of captures.
pub(crate) const MIXES: &[Mix] = &[
    Mix {
        name: "bulk",
        about: "A handshake, then megabytes of 16 KiB records in full segments",
        write: mixes::bulk,
    },
    Mix {
        name: "handshake",
        about: "Nothing but whole handshakes, each closed at once",
        write: mixes::handshake,
    },
    Mix {
        name: "mixed",
        about: "Handshakes with 10 to 200 KB, failed ones, lost SYNs, DNS, HTTP; loss, reordering, repetition",
        write: mixes::mixed,
    },
    Mix {
        name: "tiny-segments",
        about: "One connection with a million segments of one byte",
        write: hostile::tiny_segments,
    },
    Mix {
        name: "reversed",
        about: "Each connection's segments in reverse order",
        write: hostile::reversed,
    },
    Mix {
        name: "overlaps",
        about: "Segments that overlap each other behind a hole",
        write: hostile::overlaps,
    },
    Mix {
        name: "one-byte-hellos",
        about: "Whole handshakes, each byte in its own segment",
        write: hostile::one_byte_hellos,
    },
    Mix {
        name: "empty-records",
        about: "64 KB of empty records in front of or behind each handshake",
        write: hostile::empty_records,
    },
    Mix {
        name: "max-extensions",
        about: "ClientHellos of 64 KB, full of extensions, over five records",
        write: hostile::max_extensions,
    },
    Mix {
        name: "syn-flood",
        about: "SYNs from everywhere, none answered",
        write: hostile::syn_flood,
    },
    Mix {
        name: "half-open",
        about: "ClientHellos that nobody answers",
        write: hostile::half_open,
    },
    Mix {
        name: "udp",
        about: "Datagrams that are not QUIC",
        write: hostile::udp,
    },
];

/// Writes a capture of a mix.
pub(crate) fn write(
    mix: &Mix,
    amount: Amount,
    seed: u64,
    format: Format,
    writer: &mut dyn Write,
) -> io::Result<Written> {
    let templates = template::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"))?;
    let mut random = Random::new(seed);
    let noise = random.bytes(NOISE_BYTES);
    let mut studio = Studio {
        output: Output::new(writer, format, seed)?,
        random,
        templates: &templates,
        noise: &noise,
        amount,
        handshakes: 0,
    };
    (mix.write)(&mut studio)?;
    studio.output.flush()?;
    Ok(Written {
        packets: studio.output.packets,
        bytes: studio.output.bytes,
        handshakes: studio.handshakes,
    })
}
