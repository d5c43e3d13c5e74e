//! Files that people bring and that are no capture read here: what each is, and what to do with it.
//!
//! A file is told by its first bytes. The answer names the format and the command that converts it, so that
//! "not a capture" is never the end of the road.

/// One row of [`FOREIGN`].
pub struct Foreign {
    /// What it is.
    pub name: &'static str,
    /// Do these first bytes belong to it?
    pub matches: fn(&[u8]) -> bool,
    /// What to do with it.
    pub advice: &'static str,
}

/// Converts anything that Wireshark reads.
const EDITCAP: &str = "convert it with: editcap -F pcapng INPUT OUTPUT.pcapng";

/// Formats that are recognised and not read, the surest first.
pub const FOREIGN: &[Foreign] = &[
    Foreign {
        name: "a Solaris snoop capture",
        matches: |b| b.starts_with(b"snoop\0\0\0"),
        advice: EDITCAP,
    },
    Foreign {
        name: "a NetXRay or Windows Sniffer capture",
        matches: |b| b.starts_with(b"XCP\0"),
        advice: EDITCAP,
    },
    Foreign {
        name: "a DOS Sniffer capture",
        matches: |b| b.starts_with(b"TRSNIFF data"),
        advice: EDITCAP,
    },
    Foreign {
        name: "a Novell LANalyzer capture",
        matches: |b| b.starts_with(&[0x01, 0x10, 0x4C, 0x00]),
        advice: EDITCAP,
    },
    Foreign {
        name: "an Endace ERF capture",
        matches: erf,
        advice: "convert it with: editcap -F pcapng INPUT OUTPUT.pcapng (or tshark -r)",
    },
    Foreign {
        name: "an AIX iptrace capture",
        matches: |b| b.starts_with(b"iptrace "),
        advice: EDITCAP,
    },
    Foreign {
        name: "an HP-UX nettl trace",
        matches: |b| b.starts_with(&[0x54, 0x52, 0x00, 0x64]),
        advice: EDITCAP,
    },
    Foreign {
        name: "an Etherpeek or Omnipeek capture",
        matches: |b| b.starts_with(&[0x7F, b'v', b'e', b'r']),
        advice: EDITCAP,
    },
    Foreign {
        name: "a Network Instruments Observer capture",
        matches: |b| b.starts_with(b"ObserverPktBuffe"),
        advice: EDITCAP,
    },
    Foreign {
        name: "a Visual Networks capture",
        matches: |b| b.starts_with(&[5, b'V', b'N', b'F']),
        advice: EDITCAP,
    },
    Foreign {
        name: "a Citrix NetScaler trace (nstrace)",
        matches: |b| (contains(b, b"NetScaler ") || contains(b, b"Netscaler ")) && !text(b),
        advice: "convert it with: editcap -F pcapng INPUT OUTPUT.pcapng; or record with start nstrace -size 0 -traceformat PCAP",
    },
    Foreign {
        name: "a Process Monitor log (.pml)",
        matches: |b| b.starts_with(b"PML_"),
        advice: "it holds no packets: record them with pktmon start --capture --pkt-size 0",
    },
    Foreign {
        name: "text of a FortiGate's sniffer",
        matches: |b| b.starts_with(b"interfaces=[") && text(b),
        advice: "convert it with Fortinet's fgt2eth.pl -in INPUT -out OUTPUT.pcap (record with diagnose sniffer packet any '' 6 0 a)",
    },
    Foreign {
        name: "an InfoVista 5View capture",
        matches: |b| b.starts_with(&[0xAA; 4]),
        advice: EDITCAP,
    },
    Foreign {
        name: "a Tektronix K12 or K15 recording",
        matches: |b| {
            b.starts_with(&[0, 0, 2, 0, 0x12, 5, 0, 0x10]) || b.starts_with(b"+---------+---")
        },
        advice: EDITCAP,
    },
    Foreign {
        name: "a Bluetooth btsnoop log",
        matches: |b| b.starts_with(b"btsnoop\0"),
        advice: "it holds no IP traffic of a network card",
    },
    Foreign {
        name: "a Windows event log (.evtx)",
        matches: |b| b.starts_with(b"ElfFile\0"),
        advice: "it holds events, not packets: read it with Event Viewer; record packets with netsh trace start capture=yes",
    },
    Foreign {
        name: "a Windows cabinet file, as netsh trace writes beside its .etl",
        matches: |b| b.starts_with(b"MSCF"),
        advice: "give the .etl file of the same name, or unpack it with: expand -F:* INPUT FOLDER",
    },
    Foreign {
        name: "a zip file, or a Message Analyzer capture (.matu, .matp)",
        matches: |b| b.starts_with(b"PK\x03\x04") || b.starts_with(b"PK\x05\x06"),
        advice: "unzip it and give the capture inside; save a Message Analyzer session as .cap (File, Save As, Export)",
    },
    Foreign {
        name: "a 7-Zip archive",
        matches: |b| b.starts_with(b"7z\xBC\xAF\x27\x1C"),
        advice: "unpack it with: 7z x INPUT",
    },
    Foreign {
        name: "a RAR archive",
        matches: |b| b.starts_with(b"Rar!\x1A\x07"),
        advice: "unpack it with: unrar x INPUT",
    },
    Foreign {
        name: "a tar archive",
        matches: |b| b.get(257..262) == Some(b"ustar"),
        advice: "unpack it with: tar -xf INPUT",
    },
    Foreign {
        name: "a gzip file",
        matches: |b| b.starts_with(&[0x1F, 0x8B]),
        advice: "this build does not read it: gzip -dc INPUT | tlscope -",
    },
    Foreign {
        name: "a file made by compress",
        matches: |b| b.starts_with(&[0x1F, 0x9D]) || b.starts_with(&[0x1F, 0xA0]),
        advice: "gzip -dc INPUT | tlscope -",
    },
    Foreign {
        name: "a zstd file",
        matches: |b| b.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]),
        advice: "this build does not read it: zstd -dc INPUT | tlscope -",
    },
    Foreign {
        name: "an lz4 file",
        matches: |b| b.starts_with(&[0x04, 0x22, 0x4D, 0x18]),
        advice: "this build does not read it: lz4 -dc INPUT | tlscope -",
    },
    Foreign {
        name: "an xz file",
        matches: |b| b.starts_with(&[0xFD, b'7', b'z', b'X', b'Z', 0]),
        advice: "this build does not read it: xz -dc INPUT | tlscope -",
    },
    Foreign {
        name: "a bzip2 file",
        matches: |b| b.starts_with(b"BZh"),
        advice: "this build does not read it: bzip2 -dc INPUT | tlscope -",
    },
    Foreign {
        name: "a file encrypted by OpenPGP, age or OpenSSL",
        matches: |b| {
            b.starts_with(b"-----BEGIN PGP")
                || b.starts_with(b"age-encryption.org/")
                || b.starts_with(b"Salted__")
        },
        advice: "decrypt it first",
    },
    Foreign {
        name: "a TLS key log",
        matches: |b| {
            b.starts_with(b"CLIENT_RANDOM ")
                || b.starts_with(b"CLIENT_HANDSHAKE_TRAFFIC_SECRET ")
                || b.starts_with(b"# SSL/TLS secrets log")
        },
        advice: "give the capture itself, and this file with --keylog",
    },
    Foreign {
        name: "certificates or keys in text",
        matches: |b| b.starts_with(b"-----BEGIN "),
        advice: "give a capture of the connection that uses them",
    },
    Foreign {
        name: "a Windows program or library",
        matches: |b| b.starts_with(b"MZ"),
        advice: "give the capture file that it wrote",
    },
    Foreign {
        name: "a program",
        matches: |b| b.starts_with(b"\x7FELF"),
        advice: "give the capture file that it wrote",
    },
    Foreign {
        name: "a PDF or an image",
        matches: |b| {
            b.starts_with(b"%PDF-")
                || b.starts_with(b"\x89PNG\r\n")
                || b.starts_with(&[0xFF, 0xD8, 0xFF])
        },
        advice: "ask for the capture file itself",
    },
    Foreign {
        name: "a CommView capture",
        matches: commview,
        advice: EDITCAP,
    },
    Foreign {
        name: "Wireshark's packets as XML (PDML or PSML)",
        matches: |b| starts_with_text(b, &["<?xml", "<pdml", "<psml"]),
        advice: "give the capture that it was made of: text does not hold the bytes",
    },
    Foreign {
        name: "a web page",
        matches: |b| starts_with_text(b, &["<!doctype", "<html"]),
        advice: "the download went wrong: it gave a page in place of the capture",
    },
    Foreign {
        name: "JSON, perhaps packets by tshark -T json or a HAR file",
        matches: |b| starts_with_text(b, &["{", "["]),
        advice: "give the capture that it was made of: text does not hold the bytes",
    },
    Foreign {
        name: "the text that tcpdump or tshark prints",
        matches: printed,
        advice: "record bytes in place of text: tcpdump -s 0 -w OUTPUT.pcap",
    },
    Foreign {
        name: "a hex dump of packets",
        matches: |b| {
            b.starts_with(b"0000  ") || b.starts_with(b"000000 ") || b.starts_with(b"00000000 ")
        },
        advice: "convert it with: text2pcap INPUT OUTPUT.pcap",
    },
    Foreign {
        name: "zeros: the beginning was never written, or lost",
        matches: |b| b.len() >= 16 && b.iter().all(|byte| *byte == 0),
        advice: "copy the file again after recording has ended",
    },
    Foreign {
        name: "text",
        matches: text,
        advice: "give the capture file itself",
    },
];

/// What a file is that begins with `first_bytes` (512 are enough), and what to do with it; for files that no reader
/// of this program takes.
pub fn name(first_bytes: &[u8]) -> String {
    match FOREIGN
        .iter()
        .find(|foreign| (foreign.matches)(first_bytes))
    {
        Some(foreign) => format!("this is {}; {}", foreign.name, foreign.advice),
        None => {
            use std::fmt::Write as _;
            let mut bytes = String::new();
            for byte in first_bytes.iter().take(8) {
                // Writing to a string can't fail.
                let _ = write!(bytes, " {byte:02x}");
            }
            format!("its first bytes are{bytes}; if Wireshark reads it, {EDITCAP}")
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A CommView record has no mark of its own: a length (in the older form twice, and a version of 0), then the date.
fn commview(bytes: &[u8]) -> bool {
    let dated = |at: usize| match bytes.get(at..at + 7) {
        Some(&[low, high, month, day, hour, minute, second]) => {
            (1995..2100).contains(&u16::from_le_bytes([low, high]))
                && (1..=12).contains(&month)
                && (1..=31).contains(&day)
                && hour < 24
                && minute < 60
                && second < 60
        }
        _ => false,
    };
    let older = bytes.get(..2) == bytes.get(2..4) && bytes.get(4) == Some(&0) && dated(5);
    older || (bytes.get(2..4) == Some(&[0, 0]) && dated(4))
}

/// An ERF record: a time of this century (seconds in the upper half, little-endian), a type and a length that fit.
fn erf(bytes: &[u8]) -> bool {
    let seconds = bytes
        .get(4..8)
        .and_then(|field| field.first_chunk())
        .map(|field| u32::from_le_bytes(*field));
    let length = bytes
        .get(10..12)
        .and_then(|field| field.first_chunk())
        .map(|field| u16::from_be_bytes(*field));
    let kind = bytes.get(8).map(|kind| kind & 0x7F);
    let plausible = matches!(
        (kind, length),
        (Some(1 | 2 | 21 | 22 | 24 | 27), Some(24..=16_384))
    );
    plausible
        && seconds.is_some_and(|seconds| (946_684_800..2_200_000_000).contains(&seconds))
        && !text(bytes)
}

/// Text, upper and lower case alike, behind a byte order mark and spaces.
fn starts_with_text(bytes: &[u8], starts: &[&str]) -> bool {
    let bytes = bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii_start();
    let begins = |start: &&str| {
        bytes
            .get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
    };
    text(bytes) && starts.iter().any(begins)
}

/// "12:34:56.789012 IP …", "    1   0.000000 192.0.2.1 → …" or tcpdump's first words.
fn printed(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"tcpdump: ") {
        return true;
    }
    let clock = |b: &[u8]| {
        matches!(
            b,
            [
                b'0'..=b'2',
                b'0'..=b'9',
                b':',
                b'0'..=b'5',
                b'0'..=b'9',
                b':',
                ..
            ]
        )
    };
    let dated = bytes
        .get(11..)
        .is_some_and(|rest| clock(rest) && bytes.get(4) == Some(&b'-'));
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let arrow = line
        .windows(4)
        .any(|part| part == b" -> " || part == " \u{2192}".as_bytes());
    text(bytes)
        && (clock(bytes)
            || dated
            || (arrow
                && line
                    .trim_ascii_start()
                    .first()
                    .is_some_and(u8::is_ascii_digit)))
}

fn text(bytes: &[u8]) -> bool {
    let controls = bytes
        .iter()
        .any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1B));
    !bytes.is_empty() && !controls && mostly_utf8(bytes)
}

/// Valid UTF-8 but for a character that the end cuts.
fn mostly_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_first_bytes() {
        let cases: &[(&[u8], &str)] = &[
            (b"snoop\0\0\0\0\0\0\x02", "snoop"),
            (b"XCP\x00002.002", "NetXRay"),
            (b"\x01\x00\x2c\x00NetScaler Performance Data\0", "nstrace"),
            (
                b"\x00\x20\x00\x00Netscaler V35 Performance Data\0",
                "nstrace",
            ),
            (b"interfaces=[any]\nfilters=[port 443]\n", "FortiGate"),
            (b"PML_\x09\0\0\0", "Process Monitor"),
            (&[0xAA, 0xAA, 0xAA, 0xAA, 0x20, 0, 0, 0], "5View"),
            (b"+---------+---------------+----------+\r\n", "K12"),
            (
                &[0x4A, 0, 0x4A, 0, 0, 0xEA, 7, 11, 22, 10, 50, 44, 1, 2],
                "CommView",
            ),
            (
                &[0x4A, 0, 0, 0, 0xEA, 7, 11, 22, 10, 50, 44, 1, 2, 3],
                "CommView",
            ),
            (b"TRSNIFF data    \x1a", "DOS Sniffer"),
            (b"MSCF\0\0\0\0", "cabinet"),
            (b"ElfFile\0\0\0", ".evtx"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"{\"layers\": []}", "JSON"),
            (b"\xEF\xBB\xBF [\n {", "JSON"),
            (b"<!DOCTYPE html><html>", "web page"),
            (
                b"12:34:56.789012 IP 192.0.2.1.443 > 192.0.2.2.5: Flags [S]",
                "tcpdump",
            ),
            (
                b"    1   0.000000    192.0.2.1 -> 192.0.2.2 TCP 66",
                "tcpdump",
            ),
            (
                "    1   0.000000    192.0.2.1 → 192.0.2.2 TCP 66".as_bytes(),
                "tcpdump",
            ),
            (b"0000  00 11 22 33", "hex dump"),
            (b"CLIENT_RANDOM 00", "key log"),
            (&[0; 64], "zeros"),
            (b"hello world", "text"),
            (
                &[
                    0x10, 0x32, 0x54, 0x76, 0, 0xCA, 0x9A, 0x60, 2, 4, 0, 96, 0, 0, 0, 74,
                ],
                "ERF",
            ),
            (
                &[0xAB, 0xCD, 1, 2, 3, 4, 5, 6, 7, 8],
                "ab cd 01 02 03 04 05 06;",
            ),
        ];
        for (bytes, word) in cases {
            assert!(name(bytes).contains(word), "{word}: {}", name(bytes));
        }
    }

    #[test]
    fn captures_that_are_read_are_not_foreign() {
        for magic in [
            &[0xD4, 0xC3, 0xB2, 0xA1, 2, 0, 4, 0][..],
            &[0x0A, 0x0D, 0x0D, 0x0A, 0x1C, 0, 0, 0],
            b"GMBU\x03\x02\x01\0",
        ] {
            assert!(
                name(magic).starts_with("its first bytes"),
                "{}",
                name(magic)
            );
        }
    }

    #[test]
    fn every_prefix_has_a_name() {
        for length in 0..64 {
            assert!(!name(&[b'-'; 64][..length]).is_empty());
            assert!(!name(&[0; 64][..length]).is_empty());
        }
    }
}
