//! Every cap in one place.
//!
//! Memory is bounded by these numbers, never by the capture's size:
//!
//! ```text
//! memory ≤ blocks_in_flight × (block_bytes + 112 bytes a packet)    the capture's bytes being worked on
//!        + flow_memory_bytes_max                                    connections, tombstones, buffers, records not yet written
//!        + kept_bytes_max                                           packets that wait to be kept, if any are
//!        + fragment_bytes_max                                       IP fragments whose packet is not whole yet
//!        + dns_lookups_max × ~500 bytes                              names asked for, at most 4 times as many in all shards;
//!                                                                   where interfaces are watched they leave every few seconds
//!        + spooled_bytes_max                                        a Windows capture that is compressed or comes through a pipe
//!        + threads × interned_max × 28 KiB at most                  hello shapes and certificates seen before; mostly a tenth of it
//!        + secrets_max × ~120 bytes                                 secrets, where key logs or captures give any
//! ```
//!
//! Each buffer, list and loop that hostile bytes can steer has a cap here, a counter in
//! [`crate::stats`] and a test that hits it. There is no "0 means unlimited".

/// The caps. [`Limits::default`] suits a workstation; tests shrink them to hit each one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Size of a capture block in bytes; a larger packet or pcapng block makes its block grow to
    /// [`Limits::packet_bytes_max`] at most. Half a processor's cache, so that what is read is still there when it is worked
    /// on. However many threads: where a block ends conversations are looked at that are over.
    pub block_bytes: usize,
    /// Largest packet (or pcapng block) that is believed, in bytes.
    pub packet_bytes_max: usize,
    /// Blocks read ahead of the slowest shard.
    pub blocks_in_flight: usize,
    /// Bytes for packets that may turn out to be of a handshake, where those are kept.
    pub kept_bytes_max: usize,
    /// Bytes for all connections of all shards: entries, buffers and records.
    pub flow_memory_bytes_max: usize,
    /// A connection without a packet for this long, by the capture's clock, is over.
    pub idle_ns: i64,
    /// The same for a connection whose SYN was not answered or that was closed by both sides.
    pub idle_short_ns: i64,
    /// Out-of-order bytes that one direction may hold.
    pub out_of_order_bytes_max: usize,
    /// Out-of-order segments that one direction may hold.
    pub out_of_order_segments_max: usize,
    /// Longest handshake message that is put together, in bytes.
    pub message_bytes_max: usize,
    /// Handshake messages read in one direction of one connection before it is left alone.
    pub messages_max: u32,
    /// Certificates kept of one Certificate message.
    pub certificates_max: usize,
    /// Alerts kept of one connection; later ones are counted in the last.
    pub alerts_max: usize,
    /// Entries kept of one list in a hello (suites, extensions, groups, schemes).
    pub list_entries_max: usize,
    /// Distinct hello shapes that are remembered in each thread, and four times as few certificates and chains: three tables
    /// with 8 KiB for each shape, and two with as much for each certificate or chain.
    pub interned_max: usize,
    /// Link-layer tags and tunnels inside one packet.
    pub encapsulation_depth_max: usize,
    /// IP packets of which some fragments are held.
    pub fragment_packets_max: usize,
    /// Bytes of IP fragments that are held.
    pub fragment_bytes_max: usize,
    /// A packet whose fragments are not all there after this long is given up.
    pub fragment_age_ns: i64,
    /// Server endpoints that are remembered to have spoken TLS.
    pub tls_endpoints_max: usize,
    /// Bytes of a Windows capture that are held in memory where it is compressed, or comes through a pipe.
    pub spooled_bytes_max: usize,
    /// Comments, and notices of dropped packets, kept of one connection, each.
    pub remarks_max: usize,
    /// Bytes kept of one comment.
    pub comment_bytes_max: usize,
    /// DNS: names and types that clients asked for, and as many questions under way; about 500 bytes each.
    pub dns_lookups_max: usize,
    /// DNS: a question that waits for so long has no answer.
    pub dns_wait_ns: i64,
    /// Secrets of a run (from key logs and captures), about 120 bytes each.
    pub secrets_max: usize,
    /// Bytes behind its handshake that secrets open in one direction of a connection, one after the other.
    pub opened_bytes_max: usize,
    /// Behind those bytes, records up to this length are still opened: alerts, late handshake messages and
    /// GOAWAYs are short.
    pub opened_record_bytes_max: usize,
    /// Handshake messages behind the handshake that are kept of one connection.
    pub post_handshake_max: usize,
    /// Windows traces: bytes of expanded buffers held at a time, about one buffer for each busy processor.
    pub trace_open_bytes_max: usize,
    /// Windows traces: buffers that the index remembers, 48 bytes each.
    pub trace_buffers_max: usize,
    /// Windows traces: processors, interfaces, providers, processes and half packets told apart, each.
    pub trace_names_max: usize,
    /// Windows traces: packets remembered to find the same packet seen at another place.
    pub sightings_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_bytes: 512 << 10,
            packet_bytes_max: 16 << 20,
            blocks_in_flight: 8,
            kept_bytes_max: 32 << 20,
            flow_memory_bytes_max: 512 << 20,
            idle_ns: 300_000_000_000,
            idle_short_ns: 60_000_000_000,
            out_of_order_bytes_max: 256 << 10,
            out_of_order_segments_max: 256,
            message_bytes_max: 256 << 10,
            messages_max: 64,
            certificates_max: 16,
            alerts_max: 8,
            list_entries_max: 512,
            interned_max: 4096,
            encapsulation_depth_max: 8,
            fragment_packets_max: 1024,
            fragment_bytes_max: 8 << 20,
            fragment_age_ns: 30_000_000_000,
            tls_endpoints_max: 65_536,
            spooled_bytes_max: 512 << 20,
            remarks_max: 8,
            comment_bytes_max: 512,
            dns_lookups_max: 65_536,
            dns_wait_ns: 30_000_000_000,
            secrets_max: 1 << 18,
            opened_bytes_max: 64 << 10,
            opened_record_bytes_max: 1024,
            post_handshake_max: 8,
            trace_open_bytes_max: 256 << 20,
            trace_buffers_max: 1 << 20,
            trace_names_max: 4096,
            sightings_max: 16_384,
        }
    }
}
