//! `same-client-mixed-offers`: programs of different age on one address.

use super::Verdict;
use super::facts::version_name;
use super::groups::{Group, Subject};
use super::history::Hello;
use super::lists::ip_rank;
use super::past::Past;
use super::stack::Stack;
use super::survey::{Counted, Report};
use super::text::word;
use super::trace::Sort;
use crate::record::{Confidence, Severity};
use crate::tls::code_points::VersionRank;
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

/// A client program, as far as its hellos tell: what it offers, and the number of its stack, which order themselves as
/// their names do.
type Program = (VersionRank, Option<usize>);

/// A hello: its trace, the number of its client, and the place of its program.
type Try = (usize, u32, u16);

/// The programs that sent hellos.
struct Programs {
    /// In their order.
    listed: Vec<Program>,
    /// By kind, the place of its program; none where the hello says that it repeats a failed one at a lower version.
    of_kind: Vec<Option<u16>>,
}

impl Programs {
    fn of(past: &Past) -> Self {
        let names = past.hellos.iter();
        let names = names.map(|hello| hello.stack().map(Stack::name));
        let known: BTreeSet<&str> = names.clone().flatten().collect();
        let known: HashMap<&str, usize> = known.into_iter().zip(0..).collect();
        let stacks: Vec<Option<usize>> = names.map(|name| known.get(name?).copied()).collect();
        let program = |sort: &Sort| {
            let offer = sort.offer_max?;
            let scsv = past.hello(sort)?.shape.fallback_scsv;
            let stack = stacks.get(sort.hello?.place())?;
            (!scsv).then_some((offer, *stack))
        };
        let of_sort: Vec<Option<Program>> = past.kinds.sorts.iter().map(program).collect();
        let listed: BTreeSet<Program> = of_sort.iter().copied().flatten().collect();
        // Known stacks, and versions, are few.
        let places: HashMap<Program, u16> = listed.iter().copied().zip(0..).collect();
        let of_sort = of_sort
            .iter()
            .map(|program| places.get(program.as_ref()?).copied());
        Self {
            listed: listed.into_iter().collect(),
            of_kind: past.kinds.by_sort(&of_sort.collect::<Vec<_>>(), None),
        }
    }

    /// Some capture has an old offer; most have none.
    fn are_old(&self) -> bool {
        self.listed.first().is_some_and(|(offer, _)| is_old(*offer))
    }
}

fn is_old(offer: VersionRank) -> bool {
    offer < VersionRank::Tls12
}

/// What is known of each client, by number.
struct Clients {
    /// For each a bit for each of its programs.
    programs: Vec<u64>,
    /// Words of 64 bits for each.
    words: usize,
    /// Of the first tries of its programs, the first and the last one.
    spans: Vec<Option<(u32, u32)>>,
}

impl Clients {
    fn of(past: &Past, programs: &Programs, tries: impl Iterator<Item = Try>) -> Self {
        const BITS: usize = u64::BITS as usize;
        let count = past.clients.addresses.len();
        let words = programs.listed.len().div_ceil(BITS);
        let mut clients = Self {
            programs: vec![0; words * count],
            words,
            spans: vec![None; count],
        };
        for (index, client, program) in tries {
            let (client, program) = (client as usize, usize::from(program));
            let word = clients.programs.get_mut(client * words + program / BITS);
            let bit = 1 << (program % BITS);
            if let Some(word) = word
                && *word & bit == 0
                && let Some(span) = clients.spans.get_mut(client)
            {
                *word |= bit;
                // Traces come in their order, and are no more than memory holds.
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                span.get_or_insert((index, index)).1 = index;
            }
        }
        clients
    }

    fn words(&self, client: usize) -> &[u64] {
        let words = self.programs.chunks_exact(self.words.max(1)).nth(client);
        words.unwrap_or(&[])
    }

    /// The places of a client's programs.
    fn programs(&self, client: usize) -> impl Iterator<Item = usize> {
        let words = self.words(client).iter().enumerate();
        words.flat_map(|(at, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest = (rest != 0).then(|| rest & (rest - 1))?;
                Some(at * u64::BITS as usize + bit as usize)
            })
        })
    }

    /// It made an old offer and a higher one.
    fn is_mixed(&self, client: usize, programs: &Programs) -> bool {
        let offer = |place: usize| programs.listed.get(place).map(|program| program.0);
        let mut places = self.programs(client);
        let low = places.next().and_then(offer);
        let high = places.last().and_then(offer);
        low.is_some_and(is_old) && low < high
    }

    /// The first tries of some clients' programs.
    fn count(&self, clients: impl Iterator<Item = usize>) -> Counted {
        let mut counted = Counted::default();
        for client in clients {
            if let Some(Some((first, last))) = self.spans.get(client) {
                let programs = self.words(client).iter().map(|word| word.count_ones());
                let programs = programs.map(u64::from).sum();
                counted.add(programs, *first as usize, *last as usize);
            }
        }
        counted
    }
}

/// Looks at each client.
pub(super) fn mixed_offers(report: &mut Report<'_>) {
    const ID: &str = "same-client-mixed-offers";
    /// Clients of which all traces are gone through together.
    const TOGETHER: usize = 256;
    let past = report.past;
    let verdict = Verdict::new(Severity::Info, Confidence::Likely, "");
    let programs = Programs::of(past);
    if !programs.are_old() {
        return;
    }
    // A lower rung of a fallback is the same program once more.
    let fallen = report.fallen().clone();
    let tries = || {
        let traces = past.clients_and_kinds().enumerate();
        traces.filter_map(|(index, (client, kind))| {
            let program = *programs.of_kind.get(kind as usize)?;
            Some((index, client, program?)).filter(|_| !fallen.contains(&index))
        })
    };
    let clients = Clients::of(past, &programs, tries());
    let addresses = past.clients.addresses.iter().enumerate();
    let mixed = addresses.filter(|(number, _)| clients.is_mixed(*number, &programs));
    // The lowest address first.
    let mut left: BinaryHeap<_> = mixed
        .map(|(number, address)| Reverse((ip_rank(address), number)))
        .collect();
    let mut further: Vec<usize> = Vec::new();
    while further.is_empty() && !report.is_further(ID, verdict) {
        let next = || left.pop().map(|Reverse((_, number))| number);
        let some: Vec<usize> = core::iter::from_fn(next).take(TOGETHER).collect();
        if some.is_empty() {
            return;
        }
        let firsts = first_tries(past, &some, tries());
        let mut can_tell = false;
        for (number, traces) in some.iter().zip(firsts) {
            if report.is_further(ID, verdict) {
                further.push(*number);
                continue;
            }
            let Some(client) = past.clients.addresses.get(*number) else {
                continue;
            };
            let subject = Subject::Named(client.to_string().into());
            if let Some(group) = report.tell(ID, verdict, subject, &traces, &[]) {
                tell_programs(past, group, &traces);
                can_tell = true;
            }
        }
        // Left out, or at the cap.
        if !can_tell && further.is_empty() && !report.is_further(ID, verdict) {
            return;
        }
    }
    further.extend(left.into_iter().map(|Reverse((_, number))| number));
    report.count_further(ID, verdict, &clients.count(further.into_iter()));
}

/// By client, the first trace of each program, the one with the oldest offer first.
fn first_tries(
    past: &Past,
    clients: &[usize],
    tries: impl Iterator<Item = Try>,
) -> Vec<Vec<usize>> {
    let mut place_of = vec![u32::MAX; past.clients.addresses.len()];
    for (place, client) in (0..).zip(clients) {
        if let Some(slot) = place_of.get_mut(*client) {
            *slot = place;
        }
    }
    let mut firsts: Vec<Vec<(u16, usize)>> = vec![Vec::new(); clients.len()];
    for (index, client, program) in tries {
        let place = place_of.get(client as usize);
        if let Some(firsts) = place.and_then(|place| firsts.get_mut(*place as usize))
            && !firsts.iter().any(|(known, _)| *known == program)
        {
            firsts.push((program, index));
        }
    }
    let sorted = firsts.into_iter().map(|mut firsts| {
        firsts.sort_unstable();
        firsts.into_iter().map(|(_, index)| index).collect()
    });
    sorted.collect()
}

/// The programs of one client, the one with the oldest offer first.
fn tell_programs(past: &Past, group: &mut Group, traces: &[usize]) {
    let rows: Vec<String> = past
        .of(traces)
        .map(|(_, trace)| {
            let stack = past.hello(&trace).and_then(Hello::stack).map_or_else(
                || word(past.lang, "unknown stack").to_owned(),
                |stack| stack.words(past.lang),
            );
            format!("{}: {stack}", trace.offer_max.map_or("?", version_name))
        })
        .collect();
    group.set("rows", &rows.join("; "));
    // What can be done about the oldest one.
    let oldest = traces.first().and_then(|index| past.trace(*index));
    let stack = oldest.and_then(|trace| past.hello(&trace)?.stack());
    group.note("stack_kind", Stack::cause(stack));
}

#[cfg(test)]
mod tests {
    use crate::findings::testing::{Make, diagnose, find};
    use crate::record::Outcome;

    #[test]
    fn old_and_new_programs_on_one_address() {
        let id = "same-client-mixed-offers";
        let old = Make::new().offer(0x0301).answer(0x0301, 0xc014);
        let new = Make::new().answer(0x0303, 0xc02f);
        assert!(find(&diagnose(&[old.clone(), new.clone()]), id).is_some());
        // The old offer stands first in the words; the first one seen is the first in time all the same.
        let found = diagnose(&[new.clone().at(0), old.clone().at(9)]);
        let (found, first) = (find(&found, id).unwrap(), new.clone().at(0).record.start);
        assert_eq!(found.first_seen, first);
        assert!(found.last_seen > first);
        assert!(find(&diagnose(&[old.client("10.0.0.2"), new.clone()]), id).is_none());
        assert!(
            find(
                &diagnose(&[new, Make::new().tls13().answer(0x0304, 0x1301)]),
                id
            )
            .is_none()
        );
    }

    #[test]
    fn the_rungs_of_a_fallback_are_one_program() {
        let id = "same-client-mixed-offers";
        let reset = |version, at| {
            let made = Make::new().offer(version).at(at);
            made.outcome(Outcome::HelloReset)
        };
        let old = |at| Make::new().offer(0x0301).answer(0x0301, 0xc014).at(at);
        let ladder = |last: Make| {
            let lower = reset(0x0302, 2).alpn(&["http/1.1"]);
            vec![reset(0x0303, 0), lower, last]
        };
        let told = |made: &[Make]| {
            let found = diagnose(made);
            let retry = find(&found, "version-fallback-retry").map(|found| found.title.to_string());
            (find(&found, id).is_some(), retry.unwrap_or_default())
        };
        let whole = "TLS 1.2 hello-reset → TLS 1.1 hello-reset → TLS 1.0 established";
        for last in [old(4), old(4).fallback_scsv()] {
            let (mixed, retry) = told(&ladder(last));
            assert!(!mixed && retry.contains(whole), "{retry}");
        }
        // Several tries at once; and what the client remembers for a while.
        let mut many = ladder(old(4));
        let again = many[1].clone().at_ms(2_100);
        many.extend([reset(0x0303, 0), again, old(5), old(90), old(300)]);
        assert!(!told(&many).0);
        // Old offers elsewhere, of another kind, or where nothing failed before, are another program's.
        let printer = old(6).sni("printer.contoso.com").server("10.0.0.9:443");
        let other = old(6).suites(&[0x0005, 0x0004]);
        for stranger in [printer, other] {
            let mut made = ladder(old(4));
            made.push(stranger);
            assert!(told(&made).0);
        }
        let good = |at| Make::new().answer(0x0303, 0xc02f).at(at);
        assert!(told(&[good(0), old(2)]).0);
        assert!(told(&[reset(0x0303, 0), good(1), old(2)]).0);
        assert!(told(&[reset(0x0303, 0), old(200)]).0);
    }

    #[test]
    fn however_many_clients_there_are_each_first_try_is_counted() {
        let id = "same-client-mixed-offers";
        let client = |n: i64| format!("10.{}.{}.7", n / 200, n % 200);
        let old = |n: i64| {
            Make::new()
                .offer(0x0301)
                .answer(0x0301, 0xc014)
                .client(&client(n))
        };
        let new = |n: i64| Make::new().answer(0x0303, 0xc02f).client(&client(n));
        let made: Vec<Make> = (0..600)
            .flat_map(|n| [new(n).at(n), old(n).at(n + 700), new(n).at(n + 1_400)])
            .collect();
        let found = diagnose(&made);
        let found: Vec<_> = found.iter().filter(|finding| finding.id == id).collect();
        let count: u64 = found.iter().map(|finding| finding.count).sum();
        assert_eq!(count, 2 * 600);
        // The last one of those that are told together.
        let last = found.iter().map(|finding| finding.last_seen).max();
        assert_eq!(last, Some(old(0).at(1_299).record.start));
    }
}
