//! MQTT by its CONNECT packet (MQTT 3.1.1 and 5.0 section 3.1): it has no word for TLS, so it is in clear.

use super::{Dialogue, Entry, Facts, Guess, Opening, Speaker, Step};

pub(super) static ENTRY: Entry = Entry {
    name: "mqtt",
    ports: &[1883],
    upgrades: false,
    frames_tls: None,
    recognise,
    start: || Box::new(Mqtt),
};

const CONNECT: u8 = 0x10;

fn recognise(opening: &Opening<'_>) -> Guess {
    let Some((&CONNECT, rest)) = opening.client.split_first() else {
        return Guess::No;
    };
    // The length's digits go on while their upper bit is set.
    let digits = rest.iter().take(4).take_while(|digit| **digit >= 0x80);
    let name = rest.get(digits.count() + 1..).unwrap_or(&[]);
    let is = |known: &[u8]| name.len() <= known.len() && known.starts_with(name);
    match name {
        [0, 4, b'M', b'Q', b'T', b'T', ..] | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', ..] => {
            Guess::Yes
        }
        _ if is(b"\0\x04MQTT") || is(b"\0\x06MQIsdp") => Guess::Maybe,
        _ => Guess::No,
    }
}

#[derive(Debug)]
struct Mqtt;

impl Dialogue for Mqtt {
    fn read(&mut self, _: Speaker, _: &[u8], facts: &mut Facts) -> Step {
        facts.in_clear();
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::testing::{C, talk};

    #[test]
    fn a_connect_is_in_clear() {
        let facts = talk(&[(C, b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06client")]);
        assert_eq!(facts.protocol, Some("mqtt"));
        assert!(facts.continued_in_clear);
        assert_eq!(talk(&[(C, b"\x10\x12\x00\x04MQXX")]).protocol, None);
    }
}
