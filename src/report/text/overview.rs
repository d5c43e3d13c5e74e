//! The tables: failures, servers, clients, names.

use super::{Captures, HEADING, Page};
use crate::{
    record::{Close, Code16, Outcome},
    report::{
        layout::{Column, table},
        sanitize::clean,
        tables::{Client, Few, Name, Server, Tables},
        words::{self, Words, grouped},
    },
    tls::code_points::Version,
};

/// Rows of a table that are shown.
const ROWS_SHOWN: usize = 20;
/// Values of one kind that a row shows.
const VALUES_SHOWN: usize = 3;

/// All tables that have rows.
pub(super) fn write(tables: &Tables, captures: Captures, page: &mut Page) {
    failures(tables, captures, page);
    servers(tables, page);
    clients(tables, page);
    names(tables, page);
}

fn failures(tables: &Tables, captures: Captures, page: &mut Page) {
    let words = page.words;
    let columns = [
        Column::text(words.say("tables.client_and_server"), 12),
        Column::text(words.say("tables.name"), 9),
        Column::text(words.say("tables.what_happened"), 13),
        Column::number(words.say("tables.times")),
        Column::text(words.say("tables.first_seen"), 10),
    ];
    // What was established stands below what was not.
    let rows = tables
        .failures
        .sorted(|failure, row| (!failure.outcome.is_complete(), row.count));
    let abandoned = rows
        .iter()
        .any(|(failure, _)| failure.outcome == Outcome::EstablishedThenClosed);
    let heading = if abandoned {
        "tables.failed_and_abandoned"
    } else {
        "tables.failed_handshakes"
    };
    let cells = |(failure, row): &(&_, &_)| failure_cells(failure, row, captures, words);
    section(
        page,
        heading,
        &columns,
        &rows,
        tables.failures.beyond,
        cells,
    );
}

fn failure_cells(
    failure: &crate::report::tables::Failure,
    row: &crate::report::tables::Failed,
    captures: Captures,
    words: &Words,
) -> Vec<String> {
    let outcome = match failure.by_server {
        Some(Close::Rst) => words.say("broken_off.reset"),
        Some(_) => words.say("broken_off.closed"),
        None => words.outcome(failure.outcome),
    };
    let what = match failure.alert {
        Some(alert) => {
            let alert = words.alert(alert.0);
            words.fill(
                "alert.of_outcome",
                &[("outcome", outcome), ("alert", &alert)],
            )
        }
        None => outcome.to_owned(),
    };
    let place = row
        .first
        .as_ref()
        .map_or_else(String::new, |(name, frame)| {
            format!("{}:{frame}", captures.name(name))
        });
    vec![
        format!("{}\n{}", failure.client, failure.server),
        failure
            .name
            .as_deref()
            .map_or_else(|| "-".to_owned(), |name| clean(name).into_owned()),
        what,
        grouped(row.count),
        place,
    ]
}

fn servers(tables: &Tables, page: &mut Page) {
    let words = page.words;
    let columns = [
        Column::text(words.say("tables.server"), 11),
        Column::text(words.say("tables.sni"), 11),
        Column::text(words.say("tables.of_versions"), 8),
        Column::text(words.say("tables.of_suites"), 8),
        Column::number(words.say("tables.seen")),
        Column::number(words.say("tables.failed")),
    ];
    let rows = tables.servers.sorted(|_, row: &Server| row.handshakes);
    let all = page.view.all_rows;
    section(
        page,
        "tables.servers",
        &columns,
        &rows,
        tables.servers.beyond,
        |(server, row)| {
            vec![
                server.to_string(),
                few(words, &row.names, all, |name| clean(name).into_owned()),
                versions(&row.versions),
                few(words, &row.suites, all, |suite| words::suite(*suite)),
                grouped(row.handshakes),
                grouped(row.failed),
            ]
        },
    );
}

fn clients(tables: &Tables, page: &mut Page) {
    let words = page.words;
    let columns = [
        Column::text(words.say("tables.client"), 11),
        Column::text(words.say("tables.best_offer"), 10),
        Column::text(words.say("tables.lowest"), 8),
        Column::text(words.say("tables.sni"), 11),
        Column::number(words.say("tables.seen")),
        Column::number(words.say("tables.failed")),
    ];
    let rows = tables.clients.sorted(|_, row: &Client| row.handshakes);
    let all = page.view.all_rows;
    section(
        page,
        "tables.clients",
        &columns,
        &rows,
        tables.clients.beyond,
        |(client, row)| {
            vec![
                client.to_string(),
                versions(&row.best_offers),
                lowest(&row.versions),
                few(words, &row.names, all, |name| clean(name).into_owned()),
                grouped(row.handshakes),
                grouped(row.failed),
            ]
        },
    );
}

fn names(tables: &Tables, page: &mut Page) {
    let words = page.words;
    let columns = [
        Column::text(words.say("tables.one_sni"), 11),
        Column::text(words.say("tables.of_servers"), 12),
        Column::number(words.say("tables.of_clients")),
        Column::text(words.say("tables.of_versions"), 8),
        Column::text(words.say("tables.of_suites"), 8),
    ];
    let rows = tables.names.sorted(|_, row: &Name| row.handshakes);
    let all = page.view.all_rows;
    section(
        page,
        "tables.names",
        &columns,
        &rows,
        tables.names.beyond,
        |(name, row)| {
            let more = if row.clients.beyond { "+" } else { "" };
            vec![
                clean(name).into_owned(),
                few(words, &row.servers, all, ToString::to_string),
                format!("{}{more}", row.clients.len()),
                versions(&row.versions),
                few(words, &row.suites, all, |suite| words::suite(*suite)),
            ]
        },
    );
}

/// One table under its heading, and what it leaves out.
fn section<R>(
    page: &mut Page,
    heading: &str,
    columns: &[Column],
    rows: &[R],
    beyond: u64,
    cells: impl Fn(&R) -> Vec<String>,
) {
    if rows.is_empty() {
        return;
    }
    let words = page.words;
    page.heading(words.say(heading));
    let shown = if page.view.all_rows {
        rows.len()
    } else {
        ROWS_SHOWN
    };
    let content: Vec<Vec<String>> = rows.iter().take(shown).map(cells).collect();
    for (index, line) in table(columns, &content, page.view.width)
        .into_iter()
        .enumerate()
    {
        let line = if index == 0 {
            page.paint(HEADING.dimmed(), &line)
        } else {
            line
        };
        page.text.push_str(&line);
        page.text.push('\n');
    }
    let more = rows.len().saturating_sub(shown) as u64;
    if more > 0 {
        let more = grouped(more);
        page.line(&words.fill("tables.more_rows", &[("n", &more)]));
    }
    if beyond > 0 {
        let beyond = words.count(beyond, "handshake");
        page.line(&words.fill("tables.no_room", &[("handshakes", &beyond)]));
    }
}

/// The most frequent values, one a line, and how many there are besides.
fn few<T: Ord>(words: &Words, values: &Few<T>, all: bool, show: impl Fn(&T) -> String) -> String {
    let sorted = values.sorted();
    // A line that says "+1 more" is better spent on the value.
    let shown = if all || sorted.len() <= VALUES_SHOWN + 1 {
        sorted.len()
    } else {
        VALUES_SHOWN
    };
    let mut lines: Vec<String> = sorted.iter().take(shown).map(|value| show(value)).collect();
    let more = sorted.len() - shown;
    match (more, values.beyond) {
        (0, false) if lines.is_empty() => "-".to_owned(),
        (0, false) => lines.join("\n"),
        (0, true) => {
            lines.push(words.say("general.beyond").to_owned());
            lines.join("\n")
        }
        (_, beyond) => {
            let beyond = if beyond { "+" } else { "" };
            let more = format!("{more}{beyond}");
            lines.push(words.fill("general.more", &[("n", &more)]));
            lines.join("\n")
        }
    }
}

/// Versions from old to new.
fn in_order(versions: &Few<Code16>) -> Vec<Code16> {
    let mut codes: Vec<Code16> = versions.sorted().into_iter().copied().collect();
    codes.sort_by_key(|code| (Version(code.0).rank(), *code));
    codes
}

fn versions(versions: &Few<Code16>) -> String {
    let names: Vec<String> = in_order(versions).into_iter().map(words::version).collect();
    if names.is_empty() {
        "-".to_owned()
    } else {
        names.join("\n")
    }
}

fn lowest(versions: &Few<Code16>) -> String {
    in_order(versions)
        .first()
        .map_or_else(|| "-".to_owned(), |code| words::version(*code))
}
