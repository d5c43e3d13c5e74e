//! What tlscope reads in hundreds of real captures, held against what Wireshark reads there: the same comparison as
//! `tools/score --basic` beside the captures, but in this process and so in seconds. The captures are not part of the
//! repository: they are looked for in `$TLSCOPE_SHARED`, or in `../shared`; without them this test says so and passes.
//! A difference passes if `tests/known_differences.tsv` (path, frame, field, why) explains it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that can't go on shall stop

mod support;

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};
use support::run;
use tlscope::record::{Handshake, Side};

/// Differences shown; the rest is counted.
const SHOWN: usize = 40;

/// A message's kind, sender and receiver.
type Key = (&'static str, String, u64, String, u64);

struct Message {
    frame: Option<u64>,
    fields: Value,
    taken: bool,
}

#[derive(Default)]
struct Score {
    known: HashMap<(String, String, String), usize>,
    wrong: Vec<String>,
    explained: usize,
    totals: BTreeMap<String, usize>,
}

impl Score {
    fn count(&mut self, what: impl Into<String>) {
        *self.totals.entry(what.into()).or_default() += 1;
    }

    fn is_known(&mut self, path: &str, frame: Option<u64>, field: &str) -> bool {
        let frame = frame.map_or_else(|| "*".to_owned(), |frame| frame.to_string());
        [(&*frame, field), (&*frame, "*"), ("*", field), ("*", "*")]
            .into_iter()
            .any(|(frame, field)| {
                let key = (path.to_owned(), frame.to_owned(), field.to_owned());
                self.known.get_mut(&key).map(|uses| *uses += 1).is_some()
            })
    }

    fn differs(&mut self, path: &str, frame: Option<u64>, field: &str, what: String) {
        if self.is_known(path, frame, field) {
            self.explained += 1;
        } else {
            let frame = frame.map_or_else(|| "-".to_owned(), |frame| frame.to_string());
            self.wrong.push(format!("{path} #{frame} {field}: {what}"));
        }
    }
}

#[test]
fn real_captures_are_read_as_wireshark_reads_them() {
    let shared = std::env::var_os("TLSCOPE_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let folder = shared.join("captures");
    let Ok(manifest) = fs::read_to_string(folder.join("manifest.tsv")) else {
        println!(
            "skipped: {} holds no manifest.tsv; set TLSCOPE_SHARED to the folder above the real captures",
            folder.display()
        );
        return;
    };
    let mut score = Score {
        known: known(),
        ..Score::default()
    };
    let mut rows = manifest.lines();
    let columns: Vec<&str> = rows.next().unwrap().split('\t').collect();
    let column = |name| columns.iter().position(|&column| column == name).unwrap();
    let (path_at, format_at) = (column("path"), column("format"));
    for row in rows {
        let cells: Vec<&str> = row.split('\t').collect();
        if matches!(cells[format_at], "pcap" | "pcapng") {
            one(&folder, cells[path_at], &mut score);
        }
    }
    for ((path, frame, field), uses) in &score.known {
        if *uses == 0 {
            println!("no longer needed in known_differences.tsv: {path} {frame} {field}");
        }
    }
    for (what, count) in &score.totals {
        println!("{what:<32} {count}");
    }
    println!("explained differences            {}", score.explained);
    let shown = score.wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    assert!(
        score.wrong.is_empty(),
        "{} unexplained differences, among them:\n{}",
        score.wrong.len(),
        shown.join("\n")
    );
}

/// Lines of path, frame, field and why; `*` stands for any.
fn known() -> HashMap<(String, String, String), usize> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/known_differences.tsv");
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut known = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        assert!(
            cells.len() == 4 && !cells[3].trim().is_empty(),
            "path, frame, field and why, with tabs between: {line}"
        );
        known.insert((cells[0].into(), cells[1].into(), cells[2].into()), 0);
    }
    known
}

fn one(folder: &Path, path: &str, score: &mut Score) {
    let truth = fs::read_to_string(folder.join("truth").join(format!("{path}.jsonl"))).ok();
    let control = truth.is_none();
    let all: Vec<Value> = truth
        .unwrap_or_default()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let basic: Vec<(&Value, Key, Value)> = all
        .iter()
        .filter(|line| is_basic(line))
        .filter_map(|line| Some((line, key(line)?, want(line)?)))
        .collect();
    if basic.is_empty() && !control {
        return;
    }
    score.count(if control {
        "captures without a handshake"
    } else {
        "captures"
    });
    let run = run::files(&[folder.join("real").join(path)], &run::options());
    let mut found: BTreeMap<Key, Vec<Message>> = BTreeMap::new();
    for record in &run.records {
        messages(record, &mut |key, frame, fields| {
            found.entry(key).or_default().push(Message {
                frame,
                fields,
                taken: false,
            });
        });
    }
    for (line, key, mut fields) in basic {
        score.count(key.0);
        let frame = line["frame"].as_u64();
        let candidates = found.get_mut(&key).map_or(&mut [][..], Vec::as_mut_slice);
        let free = |message: &Message| !message.taken;
        let at = candidates
            .iter()
            .position(|message| free(message) && message.frame == frame)
            .or_else(|| candidates.iter().position(free));
        let Some(message) = at.and_then(|at| candidates.get_mut(at)) else {
            score.differs(path, frame, "missing", key.0.to_owned());
            continue;
        };
        message.taken = true;
        score.count(format!("{} found", key.0));
        if message.frame.is_some() && message.frame != frame {
            fields["frame"] = line["frame"].clone();
            message.fields["frame"] = json!(message.frame);
        }
        for (name, wanted) in fields.as_object().unwrap() {
            if wanted.is_null() {
                continue;
            }
            score.count("fields");
            let ours = &message.fields[name];
            if !is_same(ours, wanted) {
                let what = format!("{}: truth {}, ours {}", key.0, brief(wanted), brief(ours));
                score.differs(path, frame, name, what);
            }
        }
    }
    alone(path, control, &all, &found, score);
}

/// Messages that only we see. Where Wireshark sees no handshake at all, each needs a reason. Elsewhere they are worth a
/// look: it gives up earlier where bytes are missing. What the truth lists elsewhere, as in tunnels, is not counted.
fn alone(
    path: &str,
    control: bool,
    all: &[Value],
    found: &BTreeMap<Key, Vec<Message>>,
    score: &mut Score,
) {
    let mut others: HashMap<Key, usize> = HashMap::new();
    for key in all.iter().filter(|line| !is_basic(line)).filter_map(key) {
        *others.entry(key).or_default() += 1;
    }
    for (key, messages) in found {
        for message in messages.iter().filter(|message| !message.taken) {
            if let Some(left) = others.get_mut(key).filter(|left| **left > 0) {
                *left -= 1;
                continue;
            }
            score.count(format!("only ours: {}", key.0));
            if control {
                let what = format!("{key:?}, where nothing is");
                score.differs(path, message.frame, "only-ours", what);
            } else if !score.is_known(path, message.frame, "only-ours") {
                println!(
                    "only ours, right or a false alarm: {path} {:?} {key:?}",
                    message.frame
                );
            }
        }
    }
}

/// TLS straight over TCP and IP, on Ethernet, VLAN, raw, loopback or SLL.
fn is_basic(line: &Value) -> bool {
    let stack = line["protocols"].as_str().unwrap_or("");
    let layers: Vec<&str> = stack
        .split(":tls")
        .next()
        .unwrap_or("")
        .split(':')
        .collect();
    let mut rest = &layers[..];
    match rest {
        ["eth" | "sll", "ethertype", after @ ..] => {
            rest = after;
            while let ["vlan", "ethertype", after @ ..] = rest {
                rest = after;
            }
        }
        ["eth" | "sll" | "raw" | "null", after @ ..] => rest = after,
        _ => {}
    }
    let ["ip" | "ipv6", after @ ..] = rest else {
        return false;
    };
    rest = after;
    while let [extension, after @ ..] = rest
        && extension.starts_with("ipv6.")
    {
        rest = after;
    }
    rest == ["tcp"] && line["l4"] == "tcp" && line["proto"] != "sslv2"
}

fn address(value: &Value) -> String {
    value.as_str().unwrap_or("").to_lowercase()
}

fn key(line: &Value) -> Option<Key> {
    let kind = ["client_hello", "server_hello", "certificate", "alert"]
        .into_iter()
        .find(|kind| line["type"] == *kind)?;
    Some((
        kind,
        address(&line["src"]),
        line["sport"].as_u64()?,
        address(&line["dst"]),
        line["dport"].as_u64()?,
    ))
}

/// The fields of a truth line under our names; none where the truth has none.
fn want(line: &Value) -> Option<Value> {
    let first = |value: &Value| match value {
        Value::Array(list) => list.first().cloned().unwrap_or(Value::Null),
        other => other.clone(),
    };
    let extensions = line["extensions"].as_array().map(|list| {
        list.iter()
            .map(|number| format!("0x{:04x}", number.as_u64().unwrap()))
            .collect::<Vec<_>>()
    });
    let fields = match line["type"].as_str()? {
        "client_hello" => json!({
            "sni": first(&line["sni"]), "alpn": line["alpn"], "cipher_suites": line["ciphers"],
            "supported_versions": line["supported_versions"], "supported_groups": line["groups"],
            "extensions": extensions, "signature_algorithms": line["sig_algs"], "ja3": line["ja3"], "ja4": line["ja4"],
        }),
        "server_hello" => {
            let version = first(&line["supported_versions"]);
            json!({
                "version": if version.is_null() { line["hello_version"].clone() } else { version },
                "cipher_suite": line["cipher"], "alpn": first(&line["alpn"]), "ja3s": line["ja3s"],
                "extensions": extensions, "hrr": if line["hrr"] == true { json!(true) } else { Value::Null },
            })
        }
        "certificate" => {
            let digests: Vec<_> = line["certs"]
                .as_array()?
                .iter()
                .map(|certificate| certificate["sha256"].clone())
                .collect();
            json!({ "certs": if digests.is_empty() { Value::Null } else { json!(digests) } })
        }
        "alert" => json!({ "code": line["desc"] }),
        _ => return None,
    };
    let any = fields.as_object()?.values().any(|value| !value.is_null());
    any.then_some(fields)
}

/// The messages of one record.
fn messages(record: &Handshake, each: &mut impl FnMut(Key, Option<u64>, Value)) {
    let key = |kind, from: Side| {
        let (client, server) = (&record.client, &record.server);
        let (from, to) = if from == Side::Client {
            (client, server)
        } else {
            (server, client)
        };
        (
            kind,
            from.ip.to_string(),
            u64::from(from.port),
            to.ip.to_string(),
            u64::from(to.port),
        )
    };
    for hello in [&record.client_hello, &record.second_client_hello]
        .into_iter()
        .flatten()
    {
        let fields = serde_json::to_value(hello).unwrap();
        each(key("client_hello", Side::Client), Some(hello.frame), fields);
    }
    for (hello, retry) in [
        (&record.hello_retry_request, true),
        (&record.server_hello, false),
    ] {
        if let Some(hello) = hello {
            let mut fields = serde_json::to_value(hello).unwrap();
            fields["hrr"] = json!(retry);
            each(key("server_hello", Side::Server), Some(hello.frame), fields);
        }
    }
    for (list, from) in [
        (&record.certificates, Side::Server),
        (&record.client_certificates, Side::Client),
    ] {
        if !list.is_empty() {
            let digests: Vec<_> = list.iter().map(|one| one.sha256.to_string()).collect();
            each(key("certificate", from), None, json!({ "certs": digests }));
        }
    }
    for alert in record.alerts.iter().filter(|alert| !alert.encrypted) {
        let fields = serde_json::to_value(alert).unwrap();
        each(key("alert", alert.from), Some(alert.frame), fields);
    }
}

fn is_same(ours: &Value, wanted: &Value) -> bool {
    match (ours, wanted) {
        (Value::String(ours), Value::String(wanted)) => ours.eq_ignore_ascii_case(wanted),
        _ => ours == wanted,
    }
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(160).collect()
}
