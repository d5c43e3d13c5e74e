//! What the work costs at least: reads a classic pcap file in blocks of 1 MiB, steps over records,
//! decodes Ethernet, IP and TCP or UDP headers, and probes a table of flows, adding those not in it.
//! All speed goals are multiples of this loop's time. `-` is standard input.

use hashbrown::HashMap;
use std::{env, error::Error, fs::File, io::Read, process::ExitCode};

const BLOCK_BYTES: usize = 1 << 20;

/// Both endpoints, the lower one first.
type V4 = (u64, u32);
type V6 = (u128, u128, u32);

#[derive(Default)]
struct Flows {
    v4: HashMap<V4, u32>,
    v6: HashMap<V6, u32>,
    packets: u64,
    segments: u64,
    payload_bytes: u64,
}

fn main() -> ExitCode {
    let Some(path) = env::args().nth(1) else {
        eprintln!("Usage: floor CAPTURE.pcap");
        return ExitCode::from(2);
    };
    match run(&path) {
        Ok(flows) => {
            println!(
                "{} packets, {} segments and datagrams, {} payload bytes, {} flows",
                flows.packets,
                flows.segments,
                flows.payload_bytes,
                flows.v4.len() + flows.v6.len()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {path}: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(path: &str) -> Result<Flows, Box<dyn Error>> {
    let mut reader: Box<dyn Read> = match path {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(File::open(path)?),
    };
    let mut header = [0; 24];
    reader.read_exact(&mut header)?;
    if !header.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) || header[20] != 1 {
        return Err("not a little-endian pcap file of Ethernet packets".into());
    }
    let mut flows = Flows::default();
    let mut block = vec![0; BLOCK_BYTES];
    let mut filled = 0;
    loop {
        let count = reader.read(&mut block[filled..])?;
        if count == 0 {
            return Ok(flows);
        }
        filled += count;
        let used = flows.step(&block[..filled]);
        if used == 0 && filled == block.len() {
            return Err("a record longer than a block".into());
        }
        block.copy_within(used..filled, 0);
        filled -= used;
    }
}

impl Flows {
    /// Steps over the records that lie wholly in `block`.
    fn step(&mut self, block: &[u8]) -> usize {
        let mut rest = block;
        while let Some((header, body)) = rest.split_first_chunk::<16>() {
            let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
            let Some((frame, after)) = body.split_at_checked(length as usize) else {
                break;
            };
            self.packets += 1;
            self.frame(frame);
            rest = after;
        }
        block.len() - rest.len()
    }

    #[inline]
    fn frame(&mut self, frame: &[u8]) -> Option<()> {
        let (ethernet, ip) = frame.split_first_chunk::<14>()?;
        match ethernet[12..] {
            [0x08, 0x00] => {
                let header = ip.first_chunk::<20>()?;
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let segment = ip.get(usize::from(header[0] & 0xf) * 4..total)?;
                let source = u32::from_be_bytes([header[12], header[13], header[14], header[15]]);
                let destination =
                    u32::from_be_bytes([header[16], header[17], header[18], header[19]]);
                let (ports, payload) = transport(header[9], segment)?;
                self.payload_bytes += payload as u64;
                let forward = (u64::from(source) << 32) | u64::from(destination);
                let key = if source <= destination {
                    (forward, ports)
                } else {
                    (forward.rotate_left(32), ports.rotate_left(16))
                };
                *self.v4.entry(key).or_insert(0) += 1;
            }
            [0x86, 0xdd] => {
                let (header, segment) = ip.split_first_chunk::<40>()?;
                let source = u128::from_be_bytes(*header[8..].first_chunk()?);
                let destination = u128::from_be_bytes(*header[24..].first_chunk()?);
                let (ports, payload) = transport(header[6], segment)?;
                self.payload_bytes += payload as u64;
                let key = if source <= destination {
                    (source, destination, ports)
                } else {
                    (destination, source, ports.rotate_left(16))
                };
                *self.v6.entry(key).or_insert(0) += 1;
            }
            _ => return None,
        }
        self.segments += 1;
        Some(())
    }
}

/// Both ports, and the payload's length.
#[inline]
fn transport(protocol: u8, segment: &[u8]) -> Option<(u32, usize)> {
    match protocol {
        6 => tcp(segment),
        17 => udp(segment),
        _ => None,
    }
}

#[inline]
fn udp(segment: &[u8]) -> Option<(u32, usize)> {
    let header = segment.first_chunk::<8>()?;
    let ports = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    Some((ports, segment.len() - 8))
}

#[inline]
fn tcp(segment: &[u8]) -> Option<(u32, usize)> {
    let header = segment.first_chunk::<20>()?;
    let ports = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    Some((
        ports,
        segment
            .len()
            .checked_sub(usize::from(header[12] >> 4) * 4)?,
    ))
}
