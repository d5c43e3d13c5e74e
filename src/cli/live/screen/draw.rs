//! How the screen looks: text and widths; whatever colour says is also said by a word.

use super::{Pane, Row, SORTS, View};
use crate::cli::live::metrics::Board;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Cell, HighlightSpacing, Paragraph, Row as TableRow, Table, Wrap},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tlscope::{
    pipeline::Progress,
    record::{Finding, Severity},
};

/// Rates are means over about this time.
const MEAN_OVER: Duration = Duration::from_secs(2);

/// Packets, bytes and handshakes a second.
pub(super) struct Rates {
    at: Instant,
    counts: [u64; 3],
    pub(super) per_second: [f64; 3],
}

impl Rates {
    pub(super) fn new(progress: &Progress) -> Self {
        Self {
            at: Instant::now(),
            counts: counts(progress),
            per_second: [0.0; 3],
        }
    }

    #[allow(clippy::cast_precision_loss)] // for people
    pub(super) fn update(&mut self, progress: &Progress) {
        let elapsed = self.at.elapsed();
        if elapsed < MEAN_OVER {
            return;
        }
        let now = counts(progress);
        for ((rate, now), before) in self.per_second.iter_mut().zip(now).zip(self.counts) {
            *rate = now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        }
        (self.at, self.counts) = (Instant::now(), now);
    }
}

fn counts(progress: &Progress) -> [u64; 3] {
    [&progress.packets, &progress.bytes, &progress.handshakes]
        .map(|count| count.load(Ordering::Relaxed))
}

/// What is drawn.
pub(super) struct Facts<'a> {
    pub(super) board: &'a Board,
    pub(super) progress: &'a Progress,
    pub(super) rates: &'a Rates,
    pub(super) rows: &'a [Row],
    pub(super) findings: &'a [Finding],
    pub(super) notices: &'a [String],
}

/// Columns from which on servers and names have a column each.
const WIDE: u16 = 110;
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Draws all of it.
pub(super) fn screen(frame: &mut Frame<'_>, facts: &Facts<'_>, view: &mut View) {
    view.wide = frame.area().width >= WIDE;
    let [head, tabs, body, notices, keys] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(u16::from(!facts.notices.is_empty())),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(header(facts, view.colour, head.width)), head);
    frame.render_widget(Line::styled(tab_line(facts, view), REVERSED), tabs);
    match &view.pane {
        Pane::Handshakes => handshakes(frame, body, facts.rows, view),
        Pane::Findings => findings(frame, body, facts.findings, view),
        Pane::Page(lines, top) => {
            let seen: Vec<Line<'_>> = lines
                .iter()
                .skip(*top)
                .map(|line| Line::raw(line.as_str()))
                .collect();
            frame.render_widget(Paragraph::new(seen).wrap(Wrap { trim: false }), body);
        }
    }
    if let Some(notice) = facts.notices.last() {
        frame.render_widget(Line::styled(format!("! {notice}"), BOLD), notices);
    }
    frame.render_widget(Line::raw(key_line(view)), keys);
}

fn header<'a>(facts: &Facts<'_>, colour: bool, width: u16) -> Vec<Line<'a>> {
    let [packets, bytes, handshakes] = facts.rates.per_second;
    let (kernel, dropped) = facts.board.kernel_now();
    let total = facts.progress.handshakes.load(Ordering::Relaxed);
    let (by_version, by_outcome) = facts.board.counted();
    let drops = if dropped > 0 {
        let style = if colour { BOLD.fg(Color::Red) } else { BOLD };
        Line::styled(
            format!("DROPPED {dropped} of {kernel} packets: see --ring and --threads"),
            style,
        )
    } else {
        Line::raw(format!("{kernel} packets, none dropped"))
    };
    vec![
        Line::styled(
            format!(
                "{}  {}  {packets:.0} packets/s  {:.1} Mbit/s  {handshakes:.1} handshakes/s  {total} in all",
                facts.board.names().join(","),
                clock(facts.board.uptime()),
                bytes * 8.0 / 1e6,
            ),
            BOLD,
        ),
        drops,
        Line::raw(tally("Versions", &by_version, width)),
        Line::raw(tally("Outcomes", &by_outcome, width)),
    ]
}

/// The most frequent first, as many as there is room for.
fn tally(what: &str, counts: &BTreeMap<String, u64>, width: u16) -> String {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut line = what.to_owned();
    let (mut room, mut left) = (usize::from(width).saturating_sub(line.len()), sorted.len());
    for (what, count) in sorted {
        let words = format!("  {what} {count}");
        left -= 1;
        // The last one may take the room for saying that there are more.
        if words.len() + if left > 0 { 5 } else { 0 } > room {
            let _ = write!(line, "  +{}", left + 1);
            break;
        }
        room -= words.len();
        line.push_str(&words);
    }
    line
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn tab_line(facts: &Facts<'_>, view: &View) -> String {
    let mark = |on: bool| if on { '>' } else { ' ' };
    let [errors, warnings, infos] = facts.board.findings().map(|count| count as u64);
    let mut line = format!(
        "{}[h] handshakes {}[f] findings: {}, {}, {}",
        mark(view.pane == Pane::Handshakes),
        mark(view.pane != Pane::Handshakes),
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(infos, "hint"),
    );
    if view.paused.is_some() {
        line.push_str("  PAUSED");
    }
    format!("{line:200}")
}

/// So many of them.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn key_line(view: &View) -> String {
    if view.typing {
        return format!("filter: {}_   (Enter keeps it, Esc clears it)", view.filter);
    }
    // A filter that is at work stands in front, where it is seen; what there is no room for then, was read before.
    let filter = match &*view.filter {
        "" => String::new(),
        filter => format!("filter: {filter} (Esc clears it)  "),
    };
    let filtered = !filter.is_empty();
    let (leave, more) = match filtered {
        true => ("", ""),
        false => ("q quit  ", "  / filter"),
    };
    match view.pane {
        Pane::Handshakes => {
            let sort = SORTS.get(view.sort).copied().unwrap_or_default();
            let why = if filtered { "" } else { "Enter why !  " };
            format!("{filter}{leave}Tab findings  {why}s sort: {sort}  p pause{more}")
        }
        Pane::Findings => {
            let arrows = if filtered { "" } else { "  arrows move" };
            format!("{filter}{leave}Tab handshakes  Enter explain  p pause{arrows}{more}")
        }
        Pane::Page(..) => "q back  arrows, PgUp, PgDn scroll".to_owned(),
    }
}

/// Keeps the selection inside the list.
fn settle(view: &mut View, length: usize) {
    let at = view.selected.selected().unwrap_or(0);
    view.selected.select(Some(at.min(length.saturating_sub(1))));
}

fn handshakes(frame: &mut Frame<'_>, area: Rect, rows: &[Row], view: &mut View) {
    settle(view, rows.len());
    let wide = area.width >= WIDE;
    let widths: &[Constraint] = if wide {
        &[
            Constraint::Length(8),
            Constraint::Length(39),
            Constraint::Length(25),
            Constraint::Min(8),
            Constraint::Length(7),
            Constraint::Length(22),
        ]
    } else {
        &[
            Constraint::Length(8),
            Constraint::Length(15),
            Constraint::Min(8),
            Constraint::Length(7),
            Constraint::Length(24),
        ]
    };
    let table = rows.iter().map(|row| {
        let time = row.time.to_string();
        let time = time.get(11..19).unwrap_or_default().to_owned();
        let mark = if row.findings.is_empty() { "" } else { "!" };
        let mut cells = vec![time, row.client.clone()];
        if wide {
            cells.extend([row.server.clone(), row.name.clone()]);
        } else {
            cells.push(row.called().to_owned());
        }
        cells.extend([row.version.clone(), format!("{mark}{}", row.outcome)]);
        let style = if view.colour && !row.findings.is_empty() {
            Style::new().fg(Color::Yellow)
        } else {
            Style::new()
        };
        TableRow::new(cells).style(style)
    });
    let head: &[&str] = if wide {
        &["time", "client", "server", "name", "version", "outcome"]
    } else {
        &["time", "client", "server", "version", "outcome"]
    };
    let table = Table::new(table, widths)
        .header(TableRow::new(head.iter().copied()).style(BOLD))
        .row_highlight_style(REVERSED)
        .highlight_symbol(">")
        .highlight_spacing(HighlightSpacing::Always);
    frame.render_stateful_widget(table, area, &mut view.selected);
}

fn findings(frame: &mut Frame<'_>, area: Rect, list: &[Finding], view: &mut View) {
    view.follow(list);
    if list.is_empty() {
        let words = "Nothing is wrong with what was seen so far, or not enough was seen.";
        return frame.render_widget(Paragraph::new(words), area);
    }
    let widths = [
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Percentage(55),
        Constraint::Percentage(45),
    ];
    let table = list.iter().map(|finding| {
        let (word, colour) = match finding.severity {
            Severity::Error => ("ERROR", Color::Red),
            Severity::Warning => ("WARNING", Color::Yellow),
            Severity::Info => ("INFO", Color::Blue),
        };
        let style = if view.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        };
        TableRow::new([
            Cell::from(word).style(style),
            Cell::from(finding.count.to_string()),
            Cell::from(finding.title.to_string()),
            Cell::from(finding.subject.to_string()),
        ])
    });
    let table = Table::new(table, widths)
        .header(TableRow::new(["", "count", "finding", "about"]).style(BOLD))
        .row_highlight_style(REVERSED)
        .highlight_symbol(">")
        .highlight_spacing(HighlightSpacing::Always);
    frame.render_stateful_widget(table, area, &mut view.selected);
}

/// A handshake of which the findings follow, as text.
pub(super) fn of_row(row: &Row) -> String {
    let Row {
        time,
        client,
        server,
        name,
        version,
        outcome,
        ..
    } = row;
    format!("{time} {client} → {server} {name}\n{version} {outcome}\n\n")
}

/// What was seen of one finding, as text.
pub(super) fn particulars(finding: &Finding) -> String {
    let mut text = format!(
        "{}\n{}\n{}\n",
        finding.title,
        finding.subject,
        counted(finding.count, "case")
    );
    for evidence in &finding.evidence {
        let _ = writeln!(
            text,
            "  {}:{} {}",
            evidence.capture, evidence.frame, evidence.fact
        );
    }
    for affected in &finding.affects {
        let _ = writeln!(text, "- {affected}");
    }
    for (number, step) in finding.remediation.iter().enumerate() {
        let _ = writeln!(text, "{}. {step}", number + 1);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Model, Shown};
    use super::*;
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};
    use tlscope::{findings::Lang, record::Timestamp};

    fn model() -> Shown {
        let shown = Shown::default();
        for n in 0..30 {
            shown.model().rows.push_back(Row {
                time: Timestamp(1_795_168_800_000_000_000 + n * 1_000_000_000),
                client: format!("192.0.2.{n}"),
                server: "198.51.100.25:443".to_owned(),
                name: "mail.contoso.com".to_owned(),
                version: if n % 2 == 0 { "TLS 1.2" } else { "TLS 1.0" }.to_owned(),
                outcome: "established",
                findings: if n % 2 == 0 {
                    vec![]
                } else {
                    vec!["legacy-version-negotiated".to_owned()]
                },
            });
        }
        let finding = serde_json::json!({
            "id": "h2-blocklisted-cipher", "severity": "error", "scope": "server", "confidence": "certain",
            "title": "HTTP/2 with a suite that it forbids", "subject": "198.51.100.25:443", "evidence": [], "count": 7,
            "first_seen": "2026-11-20T10:00:00Z", "last_seen": "2026-11-20T10:00:00Z",
            "affects": ["Chrome"], "remediation": ["Reorder the suites"], "reference": "RFC 9113",
        });
        shown.findings(vec![serde_json::from_value(finding).unwrap()]);
        shown.notice("v1: the interface is down");
        shown
    }

    fn drawn(model: &Model, view: &mut View) -> String {
        let board = Board::new(vec!["eth0".to_owned()], vec![std::sync::Arc::default()]);
        let progress = Progress::default();
        let (rows, findings) = (view.rows(model), view.findings(model));
        let notices: Vec<String> = model.notices.iter().cloned().collect();
        let facts = Facts {
            board: &board,
            progress: &progress,
            rates: &Rates::new(&progress),
            rows: &rows,
            findings: &findings,
            notices: &notices,
        };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| screen(frame, &facts, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(80).map(|line| {
            let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn press(view: &mut View, model: &Model, keys: &[KeyCode]) -> bool {
        keys.iter().any(|key| view.key((*key).into(), model))
    }

    #[test]
    fn it_is_read_on_80_by_24_without_colour() {
        let shown = model();
        let model = shown.model();
        let mut view = View::new(Lang::En, false);
        let text = drawn(&model, &mut view);
        assert_eq!(text.lines().count(), 24);
        for words in [
            "eth0  0:00:00",
            "none dropped",
            "192.0.2.29      mail.contoso.com",
            "TLS 1.0 !established",
            "! v1: the interface is down",
            "q quit  Tab findings  Enter why !  s sort: time",
            ">10:00:29",
        ] {
            assert!(text.contains(words), "{words}:\n{text}");
        }
        press(&mut view, &model, &[KeyCode::Tab]);
        let text = drawn(&model, &mut view);
        assert!(
            text.contains("ERROR   7       HTTP/2 with a suite"),
            "{text}"
        );
        press(&mut view, &model, &[KeyCode::Enter]);
        let text = drawn(&model, &mut view);
        assert!(
            text.contains("1. Reorder the suites") && text.contains("h2-blocklisted-cipher"),
            "{text}"
        );
        press(&mut view, &model, &[KeyCode::Esc]);
        assert_eq!(view.pane, Pane::Findings);
    }

    #[test]
    fn the_selected_finding_is_followed_and_a_page_leads_back_to_its_list() {
        let shown = model();
        let mut view = View::new(Lang::En, false);
        let chosen = shown.model().findings[0].clone();
        press(&mut view, &shown.model(), &[KeyCode::Tab]);
        drawn(&shown.model(), &mut view);
        // A worse one comes in front of it before the key is pressed.
        let mut worse = chosen.clone();
        worse.subject = "203.0.113.9:443".into();
        worse.title = "Another one".into();
        shown.findings(vec![worse, chosen]);
        press(&mut view, &shown.model(), &[KeyCode::Enter]);
        let text = drawn(&shown.model(), &mut view);
        assert!(
            text.contains("HTTP/2 with a suite that it forbids"),
            "{text}"
        );
        press(&mut view, &shown.model(), &[KeyCode::Esc]);
        let text = drawn(&shown.model(), &mut view);
        assert!(text.contains(">ERROR   7       HTTP/2 with"), "{text}");

        press(&mut view, &shown.model(), &[KeyCode::Tab, KeyCode::Enter]);
        let text = drawn(&shown.model(), &mut view);
        assert!(
            text.contains("192.0.2.29 → 198.51.100.25:443 mail.contoso.com")
                && text.contains("legacy-version-negotiated"),
            "{text}"
        );
        press(&mut view, &shown.model(), &[KeyCode::Esc]);
        assert_eq!(view.pane, Pane::Handshakes);
        // Nothing is wrong with the next one.
        press(&mut view, &shown.model(), &[KeyCode::Down, KeyCode::Enter]);
        assert_eq!(view.pane, Pane::Handshakes);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let counts = [
            ("established-then-closed", 97),
            ("server-alert", 25),
            ("hello-reset", 11),
        ]
        .map(|(what, count)| (what.to_owned(), count));
        let line = |width| tally("Outcomes", &counts.clone().into(), width);
        assert_eq!(
            line(80),
            "Outcomes  established-then-closed 97  server-alert 25  hello-reset 11"
        );
        assert_eq!(
            line(60),
            "Outcomes  established-then-closed 97  server-alert 25  +1"
        );
        assert_eq!(line(20), "Outcomes  +3");
    }

    #[test]
    fn rows_are_filtered_sorted_and_paused() {
        let shown = model();
        let mut view = View::new(Lang::En, true);
        let model = shown.model();
        press(&mut view, &model, &[KeyCode::Char('/')]);
        press(
            &mut view,
            &model,
            &"tls 1.0".chars().map(KeyCode::Char).collect::<Vec<_>>(),
        );
        assert!(!press(&mut view, &model, &[KeyCode::Char('q')]), "typed");
        press(&mut view, &model, &[KeyCode::Backspace, KeyCode::Enter]);
        assert_eq!(view.rows(&model).len(), 15);
        let keys = |view: &mut View| {
            drawn(&model, view)
                .lines()
                .last()
                .unwrap()
                .trim_end()
                .to_owned()
        };
        assert_eq!(
            keys(&mut view),
            "filter: tls 1.0 (Esc clears it)  Tab findings  s sort: time  p pause"
        );
        press(&mut view, &model, &[KeyCode::Char('s')]);
        assert_eq!(view.rows(&model)[0].client, "192.0.2.1");
        // On 80 columns names are in the servers' column, and servers are sorted as they are read.
        press(&mut view, &model, &[KeyCode::Char('s')]);
        assert!(
            view.rows(&model)
                .is_sorted_by_key(|row| row.called().to_owned())
        );
        press(&mut view, &model, &[KeyCode::Char('s')]);
        assert!(
            keys(&mut view).contains("s sort: version"),
            "{}",
            keys(&mut view)
        );
        press(&mut view, &model, &[KeyCode::Char('p')]);
        drop(model);
        shown.model().rows.clear();
        let model = shown.model();
        assert_eq!(view.rows(&model).len(), 15, "as it was");
        press(&mut view, &model, &[KeyCode::Char('p')]);
        assert!(view.rows(&model).is_empty());
        assert!(press(&mut view, &model, &[KeyCode::Char('q')]));
    }
}
