//! Which rules a handshake is asked of: most have neither failed nor said much in clear, and most rules have nothing to say
//! of those.

use super::facts::Facts;
use super::{Judge, Rule, rules};
use std::sync::OnceLock;

/// Handshakes of which a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// All.
    Always,
    /// Those that did not complete.
    Incomplete,
    /// Those with an alert.
    Alerted,
    /// Those that did not complete, and those with an alert.
    Troubled,
    /// Those of which the server selected a protocol in clear.
    Selected,
    /// Those with a dialogue, a proxy or HTTP in clear.
    Talked,
    /// Those that showed the server's certificate.
    Shown,
    /// Those of TLS 1.2 and below.
    Clear,
}

/// What holds of a handshake: a bit for each of [`When`].
#[derive(Clone, Copy)]
pub(super) struct Holds(u8);

impl Holds {
    /// How many there are.
    const ALL: usize = 1 << (When::Clear as u8 + 1);

    pub(super) fn of(facts: &Facts<'_>) -> Self {
        let record = facts.record;
        let talked = record.dialogue.is_some() || record.proxy.is_some() || record.http.is_some();
        let bit = |holds: bool, when: When| u8::from(holds) << when as u8;
        Self(
            bit(true, When::Always)
                | bit(!record.outcome.is_complete(), When::Incomplete)
                | bit(!record.alerts.is_empty(), When::Alerted)
                | bit(
                    !record.outcome.is_complete() || !record.alerts.is_empty(),
                    When::Troubled,
                )
                | bit(facts.alpn().is_some(), When::Selected)
                | bit(talked, When::Talked)
                | bit(facts.leaf.is_some(), When::Shown)
                | bit(facts.is_clear(), When::Clear),
        )
    }

    pub(super) fn has(self, when: When) -> bool {
        self.0 & (1 << when as u8) != 0
    }

    /// The rules to be asked, in the order of their table.
    pub(super) fn rules(self) -> &'static [(Judge, &'static Rule)] {
        static LISTS: [OnceLock<Vec<(Judge, &Rule)>>; Holds::ALL] =
            [const { OnceLock::new() }; Holds::ALL];
        let list = LISTS.get(usize::from(self.0));
        list.map_or(&[], |list| {
            list.get_or_init(|| {
                let asked = rules().filter(|rule| self.has(rule.when));
                asked.map(|rule| (rule.judge, rule)).collect()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing::{Make, cert};
    use crate::record::{Outcome, Side};

    #[test]
    fn what_holds_of_a_handshake() {
        let holds = |made: &Make, when| Holds::of(&Facts::of(&made.record)).has(when);
        let good = Make::new().answer(0x0303, 0xc02f);
        assert!(holds(&good, When::Always) && holds(&good, When::Clear));
        for when in [
            When::Incomplete,
            When::Alerted,
            When::Troubled,
            When::Selected,
        ] {
            assert!(!holds(&good, when), "{when:?}");
        }
        assert!(!holds(&good, When::Talked) && !holds(&good, When::Shown));
        let hidden = Make::new().tls13().answer(0x0304, 0x1301);
        assert!(!holds(&hidden, When::Clear));
        let shown = good.clone().certificate(cert("CN=www.contoso.com", &[]));
        assert!(holds(&shown, When::Shown));
        assert!(holds(&good.clone().selected("h2"), When::Selected));
        let reset = Make::new().outcome(Outcome::HelloReset);
        assert!(holds(&reset, When::Incomplete) && holds(&reset, When::Troubled));
        // An alert after all was well is one all the same.
        let late = good.alert(Side::Client, 48);
        assert!(holds(&late, When::Alerted) && holds(&late, When::Troubled));
        assert!(!holds(&late, When::Incomplete));
    }

    #[test]
    fn each_handshake_is_asked_of_some_rules_in_their_order() {
        let of = |made: &Make| Holds::of(&Facts::of(&made.record)).rules();
        let all: Vec<&str> = rules().map(|rule| rule.entry.id).collect();
        for made in [
            Make::new().answer(0x0303, 0xc02f),
            Make::new().outcome(Outcome::HelloReset),
        ] {
            let asked: Vec<&str> = of(&made).iter().map(|(_, rule)| rule.entry.id).collect();
            assert!(!asked.is_empty() && asked.len() < all.len());
            let mut rest = all.iter();
            assert!(asked.iter().all(|id| rest.any(|known| known == id)));
        }
    }
}
