//! Captures inside gzip, zstd, lz4, xz or bzip2, told by their first bytes and expanded as a stream.
//!
//! All decoders are Rust alone. Memory is bounded by the formats' windows, and those by a cap, never by what the
//! file claims to expand to: a bomb costs time, and as much as it is long. Files that were put one behind another
//! (`cat a.gz b.gz`) are read as one.

use std::io::Read;

/// Largest window that is believed, in bytes.
#[cfg(feature = "compressed")]
const WINDOW_BYTES_MAX: u64 = 128 << 20;

/// A source of bytes that may go to another thread.
pub type Bytes = Box<dyn Read + Send>;

/// How a file is compressed.
#[derive(Clone, Copy)]
pub struct Compression {
    /// Its usual name.
    pub name: &'static str,
    /// Do these first bytes belong to it?
    pub matches: fn(&[u8]) -> bool,
    /// Expands a source from its first byte on.
    pub open: fn(Bytes) -> Bytes,
}

/// The ways of compression that this build reads.
#[cfg(feature = "compressed")]
pub const COMPRESSIONS: &[Compression] = &[
    Compression {
        name: "gzip",
        matches: |bytes| bytes.starts_with(&[0x1F, 0x8B, 8]),
        open: |inner| Box::new(flate2::read::MultiGzDecoder::new(inner)),
    },
    Compression {
        name: "zstd",
        matches: |bytes| {
            matches!(
                bytes,
                [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..]
            )
        },
        open: |inner| Box::new(zstd::Frames::new(inner)),
    },
    Compression {
        name: "lz4",
        matches: |bytes| {
            matches!(
                bytes,
                [0x04, 0x22, 0x4D, 0x18, ..] | [0x02, 0x21, 0x4C, 0x18, ..]
            )
        },
        open: |inner| Box::new(lz4::Frames::new(inner)),
    },
    Compression {
        name: "xz",
        matches: |bytes| bytes.starts_with(&[0xFD, b'7', b'z', b'X', b'Z', 0]),
        open: |inner| {
            let kib = u32::try_from(WINDOW_BYTES_MAX >> 10).unwrap_or(u32::MAX);
            let buffered = std::io::BufReader::new(inner);
            Box::new(lzma_rust2::XzReader::new_mem_limit(
                buffered,
                true,
                kib + 1024,
            ))
        },
    },
    Compression {
        name: "bzip2",
        matches: |bytes| {
            matches!(
                bytes,
                [
                    b'B',
                    b'Z',
                    b'h',
                    b'1'..=b'9',
                    0x31,
                    0x41,
                    0x59,
                    0x26,
                    0x53,
                    0x59,
                    ..
                ]
            )
        },
        open: |inner| Box::new(bzip2::read::MultiBzDecoder::new(inner)),
    },
];

/// The ways of compression that this build reads: none.
#[cfg(not(feature = "compressed"))]
pub const COMPRESSIONS: &[Compression] = &[];

/// Do these first bytes (10 are enough) begin a compressed file?
pub fn is_one(first_bytes: &[u8]) -> bool {
    COMPRESSIONS
        .iter()
        .any(|compression| (compression.matches)(first_bytes))
}

/// The name of the compression and the expanded bytes, where `first_bytes` (10 are enough) begin a compressed
/// file. `inner` gives the file from its first byte on. Otherwise `inner` comes back.
pub fn open(first_bytes: &[u8], inner: Bytes) -> Result<(&'static str, Bytes), Bytes> {
    match COMPRESSIONS
        .iter()
        .find(|compression| (compression.matches)(first_bytes))
    {
        Some(compression) => Ok((compression.name, (compression.open)(inner))),
        None => Err(inner),
    }
}

#[cfg(feature = "compressed")]
mod zstd {
    //! One frame after another, skippable ones skipped.

    use super::{Bytes, WINDOW_BYTES_MAX};
    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
    use std::io::{self, BufRead, BufReader, Read};

    pub(super) struct Frames {
        source: BufReader<Bytes>,
        frame: FrameDecoder,
        /// Is a frame begun?
        inside: bool,
    }

    impl Frames {
        pub(super) fn new(source: Bytes) -> Self {
            let mut frame = FrameDecoder::new();
            frame.set_max_window_size(WINDOW_BYTES_MAX);
            Self {
                source: BufReader::with_capacity(64 << 10, source),
                frame,
                inside: false,
            }
        }

        /// Begins the next frame; `false` at the end of the file.
        fn begin(&mut self) -> io::Result<bool> {
            loop {
                if self.source.fill_buf()?.is_empty() {
                    return Ok(false);
                }
                match self.frame.reset(&mut self.source) {
                    Ok(()) => {
                        self.inside = true;
                        return Ok(true);
                    }
                    Err(error) => match skippable(&error) {
                        Some(length) => skip(&mut self.source, length)?,
                        None => return Err(self.told(error)),
                    },
                }
            }
        }

        /// An error at the end of the file means that the file is cut.
        fn told(&mut self, error: FrameDecoderError) -> io::Error {
            let at_end = self.source.fill_buf().is_ok_and(<[u8]>::is_empty);
            let kind = if at_end {
                io::ErrorKind::UnexpectedEof
            } else {
                io::ErrorKind::InvalidData
            };
            io::Error::new(kind, error)
        }
    }

    fn skippable(error: &FrameDecoderError) -> Option<u32> {
        match error {
            FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            }) => Some(*length),
            _ => None,
        }
    }

    fn skip(source: &mut impl Read, length: u32) -> io::Result<()> {
        let skipped = io::copy(&mut source.take(u64::from(length)), &mut io::sink())?;
        if skipped < u64::from(length) {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(())
        }
    }

    impl Read for Frames {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            if room.is_empty() {
                return Ok(0);
            }
            loop {
                if !self.inside && !self.begin()? {
                    return Ok(0);
                }
                let count = self.frame.read(room)?;
                if count > 0 {
                    return Ok(count);
                }
                if self.frame.is_finished() {
                    self.inside = false;
                } else if let Err(error) = self
                    .frame
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                {
                    return Err(self.told(error));
                }
            }
        }
    }
}

#[cfg(feature = "compressed")]
mod lz4 {
    //! One frame after another: the decoder ends at the end of each.

    use super::Bytes;
    use std::io::{self, BufRead, BufReader, Read};

    pub(super) struct Frames {
        decoder: lz4_flex::frame::FrameDecoder<BufReader<Bytes>>,
    }

    impl Frames {
        pub(super) fn new(source: Bytes) -> Self {
            Self {
                decoder: lz4_flex::frame::FrameDecoder::new(BufReader::with_capacity(
                    64 << 10,
                    source,
                )),
            }
        }
    }

    impl Read for Frames {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            if room.is_empty() {
                return Ok(0);
            }
            loop {
                let count = self.decoder.read(room)?;
                if count > 0 || self.decoder.get_mut().fill_buf()?.is_empty() {
                    return Ok(count);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "compressed")]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    /// "tlscope " 1000 times, by the usual programs.
    fn plain() -> Vec<u8> {
        b"tlscope ".repeat(1000)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[rustfmt::skip]
    const XZ: &[u8] = &[
        0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00, 0x00, 0x04, 0xE6, 0xD6, 0xB4, 0x46, 0x02, 0x00, 0x21, 0x01,
        0x1C, 0x00, 0x00, 0x00, 0x10, 0xCF, 0x58, 0xCC, 0xE0, 0x1F, 0x3F, 0x00, 0x30, 0x5D, 0x00, 0x3A,
        0x1B, 0x0A, 0xCC, 0xBF, 0xCF, 0x7B, 0x5B, 0xA0, 0x3C, 0xA1, 0x7E, 0x4E, 0x0A, 0x97, 0xDD, 0xA5,
        0x02, 0x19, 0x72, 0x9E, 0xA9, 0x28, 0xBE, 0x83, 0x87, 0x17, 0x55, 0xF7, 0x79, 0x59, 0x56, 0x2C,
        0xEF, 0x54, 0x3D, 0x12, 0x76, 0x9D, 0x70, 0xD2, 0xB3, 0x6D, 0x1E, 0x0D, 0x16, 0xC4, 0x00, 0x00,
        0xE8, 0xAB, 0xBA, 0xEA, 0xD6, 0xBC, 0x5A, 0x45, 0x00, 0x01, 0x4C, 0xC0, 0x3E, 0x00, 0x00, 0x00,
        0x83, 0x79, 0x2E, 0x42, 0xB1, 0xC4, 0x67, 0xFB, 0x02, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5A,
    ];

    /// `printf 'tlscope %.0s' $(seq 1000) | xz -9`, as XZ Utils 5.4 writes it.
    fn xz() -> Vec<u8> {
        XZ.to_vec()
    }

    fn all() -> Vec<(&'static str, Vec<u8>)> {
        let plain = plain();
        vec![
            ("gzip", gzip(&plain)),
            ("zstd", zstd(&plain)),
            ("lz4", lz4(&plain)),
            ("xz", xz()),
            ("bzip2", bzip2(&plain)),
        ]
    }

    fn expand(packed: &[u8]) -> (&'static str, Vec<u8>, std::io::Result<()>) {
        let Ok((name, mut reader)) = open(packed, Box::new(Cursor::new(packed.to_vec()))) else {
            return ("", Vec::new(), Ok(()));
        };
        let (mut bytes, mut room) = (Vec::new(), [0; 777]);
        loop {
            match reader.read(&mut room) {
                Ok(0) => return (name, bytes, Ok(())),
                Ok(count) => bytes.extend_from_slice(&room[..count]),
                Err(error) => return (name, bytes, Err(error)),
            }
            assert!(bytes.len() < 1 << 24, "{name} does not end");
        }
    }

    #[test]
    fn each_is_told_by_its_first_bytes_and_expands() {
        for (wanted, packed) in all() {
            let (name, bytes, end) = expand(&packed);
            assert_eq!((name, bytes), (wanted, plain()));
            assert!(end.is_ok());
        }
        assert_eq!(expand(b"BZhello world").0, "");
        assert_eq!(expand(&[0xD4, 0xC3, 0xB2, 0xA1]).0, "");
    }

    #[test]
    fn files_one_behind_another_are_one() {
        for (name, packed) in all() {
            let (_, bytes, end) = expand(&[packed.clone(), packed].concat());
            assert_eq!(bytes.len(), 16_000, "{name}");
            assert!(end.is_ok(), "{name}");
        }
    }

    #[test]
    fn a_cut_file_gives_a_prefix_and_an_error() {
        for (name, packed) in all() {
            for length in 12..packed.len() {
                let (_, bytes, end) = expand(&packed[..length]);
                assert!(plain().starts_with(&bytes), "{name} cut at {length}");
                assert!(
                    end.is_err() || bytes.len() == 8000,
                    "{name} cut at {length}"
                );
            }
        }
    }

    #[test]
    fn flipped_bits_neither_panic_nor_hang() {
        for (_, packed) in all() {
            for bit in 0..packed.len() * 8 {
                let mut packed = packed.clone();
                packed[bit / 8] ^= 1 << (bit % 8);
                let _ = expand(&packed);
            }
        }
    }

    #[test]
    fn skippable_zstd_frames_are_skipped() {
        let mut packed = vec![0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3];
        packed.extend(zstd(&plain()));
        let (name, bytes, end) = expand(&packed);
        assert_eq!((name, bytes), ("zstd", plain()));
        assert!(end.is_ok());
    }

    #[test]
    fn windows_beyond_the_cap_are_refused() {
        // A frame whose window is 2 GiB, and then a run of zeros.
        let packed = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xA8, 0x03, 0x00, 0x00, 0x00];
        assert!(expand(&packed).2.is_err());
    }
}
