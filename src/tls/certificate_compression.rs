//! The Certificate message inside a CompressedCertificate (RFC 8879), which only secrets show.
//!
//! The decoders come with the feature `compressed`; without it such a message stays closed, as one of an
//! unknown algorithm does.

/// The name of a certificate compression algorithm (RFC 8879 section 7.3).
pub fn name(algorithm: u16) -> Option<&'static str> {
    Some(match algorithm {
        1 => "zlib",
        2 => "brotli",
        3 => "zstd",
        _ => return None,
    })
}

/// The message, which must have the length that was announced. `None`: it has not, or it does not expand.
#[cfg(feature = "compressed")]
pub fn expand(algorithm: u16, data: &[u8], length: usize) -> Option<Vec<u8>> {
    use std::io::Read;
    // Bytes that the brotli decoder reads at a time.
    const BUFFER_BYTES: usize = 4096;
    let mut message = Vec::new();
    // One byte more than announced, to see that there is none.
    let most = length as u64 + 1;
    let read = match algorithm {
        1 => flate2::read::ZlibDecoder::new(data)
            .take(most)
            .read_to_end(&mut message)
            .ok(),
        2 => brotli_decompressor::Decompressor::new(data, BUFFER_BYTES)
            .take(most)
            .read_to_end(&mut message)
            .ok(),
        3 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(data).ok()?;
            decoder.take(most).read_to_end(&mut message).ok()
        }
        _ => None,
    };
    (read? == length).then_some(message)
}

/// Without decoders nothing expands.
#[cfg(not(feature = "compressed"))]
pub fn expand(_: u16, _: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}

#[cfg(all(test, feature = "compressed"))]
mod tests {
    use super::*;

    /// "certificate" twenty times, as the reference tools compress it.
    const SAMPLES: [(u16, &[u8]); 3] = [
        (
            1,
            &[
                120, 218, 75, 78, 45, 42, 201, 76, 203, 76, 78, 44, 73, 77, 30, 110, 76, 0, 247,
                40, 90, 61,
            ],
        ),
        (
            2,
            &[27, 219, 0, 248, 37, 0, 10, 152, 193, 42, 0, 87, 204, 11],
        ),
        (
            3,
            &[
                40, 181, 47, 253, 32, 220, 149, 0, 0, 88, 99, 101, 114, 116, 105, 102, 105, 99, 97,
                116, 101, 1, 0, 78, 83, 197, 11,
            ],
        ),
    ];

    #[test]
    fn every_algorithm_expands_to_the_announced_length_or_not_at_all() {
        let message = b"certificate".repeat(20);
        for (algorithm, data) in SAMPLES {
            assert!(name(algorithm).is_some());
            assert_eq!(
                expand(algorithm, data, message.len()),
                Some(message.clone()),
                "{algorithm}"
            );
            for length in [0, message.len() - 1, message.len() + 1, 1 << 20] {
                assert_eq!(expand(algorithm, data, length), None, "{algorithm}");
            }
            for end in 0..data.len() {
                // A cut one gives nothing, but for a checksum that is missing alone.
                let cut = expand(algorithm, &data[..end], message.len());
                assert!(cut.is_none_or(|cut| cut == message), "{algorithm} {end}");
            }
        }
        assert_eq!((name(4), expand(4, &[], 0)), (None, None));
    }
}
