//! What DNS told clients of Encrypted ClientHello, and what it says of their hellos.
//!
//! An outer hello and GREASE look alike (RFC 9849 section 6.2). What tells them apart stands elsewhere in the capture: a
//! client that was given a configuration shows that one's number, suite and public name, and a client that was told that
//! a name has none can only send GREASE. Both are inferences, and where neither holds nothing is said: a configuration
//! may also come by encrypted DNS, or from a server that refused an older one.

use super::copy::text;
use super::{ClientHello, EchLikely, Handshake, Timestamp};
use crate::dns::message::{Answer, Message};
use hashbrown::HashMap;
use std::net::IpAddr;

/// Configurations of one answer, and of one public name and client, that are kept.
const CONFIGS_MAX: usize = 32;
/// Cipher suites of one configuration that are kept.
const SUITES_MAX: usize = 16;

/// What one answer says of Encrypted ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchAnswer {
    /// Who was told.
    pub client: IpAddr,
    /// The name that it had asked for, in lower case.
    pub name: Box<str>,
    /// When.
    pub time_ns: i64,
    /// What.
    pub told: EchTold,
}

/// Whether a name takes Encrypted ClientHello.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EchTold {
    /// It does not.
    Without,
    /// It does, with these configurations; none where they are of a version that is not known.
    With(Vec<Config>),
}

/// What an outer hello shows of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    id: u8,
    suites: Vec<(u16, u16)>,
    public_name: Box<str>,
}

impl EchTold {
    /// Of the answer to a question for HTTPS records; `None` where it does not decide.
    pub(super) fn of(message: &Message<'_>) -> Option<Self> {
        const NXDOMAIN: u8 = 3;
        if message.truncated || !matches!(message.rcode, 0 | NXDOMAIN) {
            return None;
        }
        let (mut configs, mut given, mut elsewhere) = (Vec::new(), false, false);
        for answer in message.answers() {
            let Answer::Service(service) = answer else {
                continue;
            };
            given |= service.has_ech();
            elsewhere |= service.priority == 0;
            for view in service.ech_configs() {
                let config = Config {
                    id: view.id,
                    suites: view.suites().take(SUITES_MAX).collect(),
                    public_name: text(&view.public_name.to_ascii_lowercase()),
                };
                if configs.len() < CONFIGS_MAX && !configs.contains(&config) {
                    configs.push(config);
                }
            }
        }
        match (given, elsewhere) {
            (true, _) => Some(Self::With(configs)),
            (false, true) => None,
            (false, false) => Some(Self::Without),
        }
    }
}

/// All that clients were told, as far as there is room.
#[derive(Debug, Default)]
pub struct EchAnswers {
    names: HashMap<(IpAddr, Box<str>), Known>,
    /// Answers for which there was no room.
    pub beyond: u64,
}

/// What a client knows of a name.
#[derive(Debug, Default)]
struct Known {
    /// First told that the name has no configuration.
    without_ns: Option<i64>,
    /// First told that it has one.
    with_ns: Option<i64>,
    /// Configurations whose public name it is, when they were told, and for which name.
    configs: Vec<(Config, i64, Box<str>)>,
}

impl EchAnswers {
    /// Learns an answer; those that come first must be learnt first, so that a full table is the same in each run.
    pub fn learn(&mut self, answer: EchAnswer, names_max: usize) {
        let EchAnswer {
            client,
            name,
            time_ns,
            told,
        } = answer;
        let earliest = |known: Option<i64>| Some(known.map_or(time_ns, |ns| ns.min(time_ns)));
        let Some(known) = self.known(client, &name, names_max) else {
            return;
        };
        let configs = match told {
            EchTold::Without => {
                known.without_ns = earliest(known.without_ns);
                return;
            }
            EchTold::With(configs) => configs,
        };
        known.with_ns = earliest(known.with_ns);
        for config in configs {
            let public_name = config.public_name.clone();
            let Some(known) = self.known(client, &public_name, names_max) else {
                return;
            };
            if known.configs.iter().all(|(seen, ..)| *seen != config) {
                if known.configs.len() >= CONFIGS_MAX {
                    self.beyond += 1;
                    return;
                }
                known.configs.push((config, time_ns, name.clone()));
            }
        }
    }

    fn known(&mut self, client: IpAddr, name: &str, names_max: usize) -> Option<&mut Known> {
        let key = (client, name.into());
        if self.names.len() >= names_max && !self.names.contains_key(&key) {
            self.beyond += 1;
            return None;
        }
        Some(self.names.entry(key).or_default())
    }

    /// Adds to a record what its outer hello is likely to be; `true` where that is known.
    pub fn infer(&self, record: &mut Handshake) -> bool {
        if self.names.is_empty() {
            return false;
        }
        let sent_us = record
            .observed
            .as_deref()
            .and_then(|observed| observed.client_hello_us);
        let sent_ns = record.start.0 + sent_us.unwrap_or(0).saturating_mul(1000);
        let (client, port) = (record.client.ip, record.server.port);
        let Some(hello) = record.client_hello.as_deref_mut() else {
            return false;
        };
        let likely = self.likely(hello, client, port, sent_ns);
        let known = likely.is_some();
        if let Some(outer) = hello.ech_outer.as_deref_mut() {
            outer.likely = likely;
        }
        known
    }

    fn likely(
        &self,
        hello: &ClientHello,
        client: IpAddr,
        port: u16,
        sent_ns: i64,
    ) -> Option<EchLikely> {
        let outer = hello.ech_outer.as_deref()?;
        let name: Box<str> = hello.sni.as_deref()?.to_ascii_lowercase().into();
        let known = self.names.get(&(client, name.clone()));
        let mut told = (known.iter().flat_map(|known| &known.configs))
            .filter(|(_, told_ns, _)| *told_ns <= sent_ns)
            .peekable();
        if told.peek().is_some() {
            let suite = (outer.kdf.0, outer.aead.0);
            let (_, told_ns, lookup) = told.find(|(config, ..)| {
                config.id == outer.config_id && config.suites.contains(&suite)
            })?;
            return Some(EchLikely {
                kind: "real".into(),
                public_name: Some(name),
                lookup: lookup.clone(),
                told: Timestamp(*told_ns),
            });
        }
        // Other ports have names of their own (RFC 9460 section 9.1).
        let (lookup, known) = match port {
            443 => (name, known),
            _ => {
                let lookup: Box<str> = format!("_{port}._https.{name}").into();
                let known = self.names.get(&(client, lookup.clone()));
                (lookup, known)
            }
        };
        let known = known?;
        let told_ns = known.without_ns.filter(|ns| *ns <= sent_ns)?;
        if known.with_ns.is_some_and(|ns| ns <= sent_ns) {
            return None;
        }
        Some(EchLikely {
            kind: "grease".into(),
            public_name: None,
            lookup,
            told: Timestamp(told_ns),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Code16;

    const CLIENT: &str = "10.0.0.1";

    fn config(id: u8) -> Config {
        Config {
            id,
            suites: vec![(1, 1), (1, 3)],
            public_name: "public.example".into(),
        }
    }

    fn answer(client: &str, name: &str, time_ns: i64, told: EchTold) -> EchAnswer {
        EchAnswer {
            client: client.parse().unwrap(),
            name: name.into(),
            time_ns,
            told,
        }
    }

    /// A hello with this server name and configuration number.
    fn hello(name: &str, config_id: u8) -> ClientHello {
        let value = serde_json::json!({
            "frame": 4, "segments": 1, "length": 500, "sni": name, "session_id_length": 32, "legacy_version": "0x0303",
            "cipher_suites": [], "compression": [0], "extensions": ["0xfe0d"], "ja3_string": "", "ja4": "",
            "ja3": "00000000000000000000000000000000", "ech_outer": {
                "config_id": config_id, "kdf": "0x0001", "aead": "0x0003", "enc_length": 32, "payload_length": 200,
            },
        });
        serde_json::from_value(value).unwrap()
    }

    /// What a hello to this port, sent at 1000 ns, is behind these answers.
    fn kind_at(port: u16, answers: &[EchAnswer], hello: &ClientHello) -> Option<String> {
        let mut known = EchAnswers::default();
        for answer in answers {
            known.learn(answer.clone(), 100);
        }
        let likely = known.likely(hello, CLIENT.parse().unwrap(), port, 1000);
        likely.map(|likely| likely.kind.into_owned())
    }

    fn kind(answers: &[EchAnswer], hello: &ClientHello) -> Option<String> {
        kind_at(443, answers, hello)
    }

    #[test]
    fn a_configuration_that_was_told_is_real_where_all_of_it_fits() {
        let at = 1000;
        let given = |client, at| {
            let told = EchTold::With(vec![config(7), config(9)]);
            [answer(client, "secret.example", at, told)]
        };
        let real = Some("real".to_owned());
        assert_eq!(kind(&given(CLIENT, at), &hello("Public.example", 9)), real);
        // Another number, name, client, suite; told afterwards.
        assert_eq!(kind(&given(CLIENT, at), &hello("public.example", 8)), None);
        assert_eq!(kind(&given(CLIENT, at), &hello("secret.example", 7)), None);
        assert_eq!(
            kind(&given("10.0.0.2", at), &hello("public.example", 7)),
            None
        );
        assert_eq!(
            kind(&given(CLIENT, at + 1), &hello("public.example", 7)),
            None
        );
        let mut other = hello("public.example", 7);
        other.ech_outer.as_mut().unwrap().aead = Code16(2);
        assert_eq!(kind(&given(CLIENT, at), &other), None);
    }

    #[test]
    fn a_name_without_configuration_leaves_only_grease() {
        let at = 1000;
        let without = answer(CLIENT, "plain.example", at, EchTold::Without);
        let grease = Some("grease".to_owned());
        let told = [without.clone()];
        assert_eq!(kind(&told, &hello("plain.example", 3)), grease);
        assert_eq!(kind(&told, &hello("other.example", 3)), None);
        // Once the client had a configuration, it may be one that is not known here.
        let mut both = vec![without];
        both.push(answer(
            CLIENT,
            "plain.example",
            at,
            EchTold::With(Vec::new()),
        ));
        assert_eq!(kind(&both, &hello("plain.example", 3)), None);
        both[1].time_ns = at + 1;
        assert_eq!(kind(&both, &hello("plain.example", 3)), grease);
        // The name of another port is another question.
        let odd = hello("plain.example", 3);
        assert_eq!(kind_at(8443, &told, &odd), None);
        let asked = answer(CLIENT, "_8443._https.plain.example", at, EchTold::Without);
        assert_eq!(kind_at(8443, &[asked], &odd), grease);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut known = EchAnswers::default();
        for number in 0..5 {
            let name = format!("{number}.example");
            known.learn(answer(CLIENT, &name, 0, EchTold::Without), 3);
        }
        assert_eq!((known.names.len(), known.beyond), (3, 2));
        let mut known = EchAnswers::default();
        for id in 0..40 {
            let told = EchTold::With(vec![config(id)]);
            known.learn(answer(CLIENT, "secret.example", 0, told), 3);
        }
        assert_eq!((known.names.len(), known.beyond), (2, 8));
    }
}
