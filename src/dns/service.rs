//! The data of an SVCB or HTTPS record (RFC 9460 section 2.2): which protocols, ports and addresses a service has, and
//! whether it takes Encrypted ClientHello (RFC 9848).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Keys of parameters (RFC 9460 section 14.3.2).
mod key {
    pub(super) const ALPN: u16 = 1;
    pub(super) const NO_DEFAULT_ALPN: u16 = 2;
    pub(super) const PORT: u16 = 3;
    pub(super) const IPV4_HINT: u16 = 4;
    pub(super) const ECH: u16 = 5;
    pub(super) const IPV6_HINT: u16 = 6;
}

/// The version of an ECHConfig that RFC 9849 defines, which is that of draft 13 and later.
const ECH_CONFIG_VERSION: u16 = 0xfe0d;

/// A view of the record's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// 0: an alias; else the lower the better.
    pub priority: u16,
    /// The target's name in wire form, never compressed (RFC 9460 section 2.2); a lone 0 is the record's own name.
    pub target: &'a [u8],
    parameters: &'a [u8],
}

fn u16_pair(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (two, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*two), rest))
}

fn vec8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn vec16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = u16_pair(bytes)?;
    rest.split_at_checked(usize::from(length))
}

impl<'a> Service<'a> {
    /// Reads the data; `target_end` is where the target's name ends in it.
    pub(super) fn parse(data: &'a [u8], target_end: Option<usize>) -> Option<Self> {
        let (priority, _) = u16_pair(data)?;
        let (front, parameters) = data.split_at_checked(target_end?)?;
        Some(Self {
            priority,
            target: front.get(2..)?,
            parameters,
        })
    }

    fn parameter(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.parameters;
        while let Some((key, after)) = u16_pair(rest) {
            let (value, after) = vec16(after)?;
            if key == wanted {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// Protocols by their ALPN names.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.parameter(key::ALPN).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (name, after) = vec8(rest)?;
            rest = after;
            Some(name)
        })
    }

    /// The protocols listed are all there are: HTTP/1.1 is none of them by itself.
    pub fn no_default_alpn(&self) -> bool {
        self.parameter(key::NO_DEFAULT_ALPN).is_some()
    }

    /// Another port.
    pub fn port(&self) -> Option<u16> {
        self.parameter(key::PORT)
            .and_then(u16_pair)
            .map(|(port, _)| port)
    }

    /// Addresses given along.
    pub fn hints(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self
            .parameter(key::IPV4_HINT)
            .unwrap_or(&[])
            .chunks_exact(4);
        let v6 = self
            .parameter(key::IPV6_HINT)
            .unwrap_or(&[])
            .chunks_exact(16);
        let v4 = v4.filter_map(|four| <[u8; 4]>::try_from(four).ok());
        let v6 = v6.filter_map(|sixteen| <[u8; 16]>::try_from(sixteen).ok());
        v4.map(|four| Ipv4Addr::from(four).into())
            .chain(v6.map(|sixteen| Ipv6Addr::from(sixteen).into()))
    }

    /// Keys for Encrypted ClientHello are given along.
    pub fn has_ech(&self) -> bool {
        self.parameter(key::ECH).is_some()
    }

    /// The name that stands in the outer ClientHello (RFC 9849 section 4): that of the first known configuration.
    pub fn ech_public_name(&self) -> Option<&'a [u8]> {
        self.ech_configs().next().map(|config| config.public_name)
    }

    /// The configurations for Encrypted ClientHello of the version that is known (RFC 9849 section 4), as far as they
    /// can be read.
    pub fn ech_configs(&self) -> impl Iterator<Item = EchConfig<'a>> {
        let list = self.parameter(key::ECH).and_then(vec16);
        let mut configs = list.map_or(&[][..], |(configs, _)| configs);
        core::iter::from_fn(move || {
            loop {
                let (version, rest) = u16_pair(configs)?;
                let (contents, after) = vec16(rest)?;
                configs = after;
                if version == ECH_CONFIG_VERSION {
                    return EchConfig::parse(contents);
                }
            }
        })
    }
}

/// A view of what an outer ClientHello shows of the configuration that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchConfig<'a> {
    /// Its number.
    pub id: u8,
    /// Pairs of HPKE key derivation function and AEAD.
    cipher_suites: &'a [u8],
    /// The server name of the outer hello.
    pub public_name: &'a [u8],
}

impl<'a> EchConfig<'a> {
    /// Of an ECHConfigContents: config_id, kem_id, public_key, cipher_suites, maximum_name_length, public_name, extensions.
    fn parse(contents: &'a [u8]) -> Option<Self> {
        let (&id, rest) = contents.split_first()?;
        let (_, rest) = vec16(rest.get(2..)?)?;
        let (cipher_suites, rest) = vec16(rest)?;
        let (public_name, _) = vec8(rest.get(1..)?)?;
        Some(Self {
            id,
            cipher_suites,
            public_name,
        })
    }

    /// Key derivation function and AEAD of each suite.
    pub fn suites(&self) -> impl Iterator<Item = (u16, u16)> {
        self.cipher_suites.chunks_exact(4).filter_map(|four| {
            let (kdf, rest) = u16_pair(four)?;
            let (aead, _) = u16_pair(rest)?;
            Some((kdf, aead))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(key: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = key.to_be_bytes().to_vec();
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes
    }

    fn ech() -> Vec<u8> {
        let mut contents = vec![7, 0, 0x20, 0, 2, 1, 2, 0, 4, 0, 1, 0, 1, 64];
        contents.extend(b"\x0epublic.example\0\0");
        let mut configs = vec![0xfe, 0x0a, 0, 1, 9, 0xfe, 0x0d];
        configs.extend((contents.len() as u16).to_be_bytes());
        configs.extend(contents);
        let mut list = (configs.len() as u16).to_be_bytes().to_vec();
        list.extend(configs);
        list
    }

    #[test]
    fn parameters_are_read() {
        let mut data = b"\0\x01\0".to_vec();
        data.extend(parameter(1, b"\x02h3\x02h2"));
        data.extend(parameter(3, &[0x20, 0xfb]));
        data.extend(parameter(4, &[192, 0, 2, 1, 192, 0, 2, 2]));
        data.extend(parameter(5, &ech()));
        data.extend(parameter(
            6,
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        ));
        let service = Service::parse(&data, Some(3)).unwrap();
        assert_eq!((service.priority, service.target), (1, &b"\0"[..]));
        assert_eq!(service.alpn().collect::<Vec<_>>(), [b"h3", b"h2"]);
        assert!(!service.no_default_alpn() && service.has_ech());
        assert_eq!(service.port(), Some(8443));
        let hints: Vec<String> = service.hints().map(|ip| ip.to_string()).collect();
        assert_eq!(hints, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
        assert_eq!(service.ech_public_name(), Some(&b"public.example"[..]));
        let configs: Vec<_> = service.ech_configs().collect();
        assert_eq!((configs.len(), configs[0].id), (1, 7));
        assert_eq!(configs[0].suites().collect::<Vec<_>>(), [(1, 1)]);
        for end in 3..data.len() {
            let cut = Service::parse(&data[..end], Some(3)).unwrap();
            let _ = (cut.ech_public_name(), cut.port(), cut.hints().count());
        }
    }

    #[test]
    fn an_alias_has_no_parameters() {
        let service = Service::parse(b"\0\0\x01a\0", Some(5)).unwrap();
        assert_eq!((service.priority, service.target), (0, &b"\x01a\0"[..]));
        assert_eq!(service.alpn().count(), 0);
        assert!(!service.has_ech() && service.port().is_none());
    }
}
