//! The screen of `tlscope live` on a terminal: rates, versions, outcomes and drops; the newest handshakes; the findings that
//! stand, with their page a key away.
//!
//! The desk puts what it knows into a bounded [`Model`]; a thread of the screen's own draws it twice a second and heeds keys.
//! It never keeps the analysis waiting for longer than it takes to copy a row.

mod draw;

use super::metrics::Board;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    widgets::TableState,
};
use std::{
    cmp::Ordering as Order,
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tlscope::{
    findings::{self, Lang},
    pipeline::Progress,
    record::{Finding, Handshake, Timestamp},
    report::sanitize,
};

/// How often it is drawn, and how soon a key is heeded.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// Handshakes, findings and notices that are kept for it.
const ROWS_MAX: usize = 1000;
pub(super) const FINDINGS_MAX: usize = 200;
const NOTICES_MAX: usize = 4;

/// A handshake as the table shows it.
#[derive(Clone, Debug)]
struct Row {
    time: Timestamp,
    client: String,
    server: String,
    name: String,
    version: String,
    outcome: &'static str,
    /// What is wrong with it, by the ids of findings.
    findings: Vec<String>,
}

impl Row {
    fn of(record: &Handshake) -> Self {
        let name = record
            .client_hello
            .as_ref()
            .and_then(|hello| hello.sni.as_deref());
        let version = record.server_hello.as_ref().map(|hello| {
            let shape = &hello.shape;
            let named = shape.version_name.as_deref();
            named.map_or_else(|| shape.version.to_string(), str::to_owned)
        });
        Self {
            time: record.end,
            client: record.client.ip.to_string(),
            server: record.server.to_string(),
            name: sanitize::clean(name.unwrap_or_default()).into_owned(),
            version: version.unwrap_or_default(),
            outcome: record.outcome.as_str(),
            findings: record.findings.iter().map(ToString::to_string).collect(),
        }
    }

    fn cells(&self) -> [&str; 5] {
        [
            &self.client,
            &self.server,
            &self.name,
            &self.version,
            self.outcome,
        ]
    }

    /// What the server is called where there is one column for it: the name that was asked for, if there is one.
    fn called(&self) -> &str {
        if self.name.is_empty() {
            &self.server
        } else {
            &self.name
        }
    }

    fn fits(&self, wanted: &str) -> bool {
        wanted.is_empty()
            || self
                .cells()
                .iter()
                .any(|cell| cell.to_lowercase().contains(wanted))
    }
}

/// What the screen knows.
#[derive(Default)]
pub(super) struct Model {
    rows: VecDeque<Row>,
    findings: Vec<Finding>,
    notices: VecDeque<String>,
    over: bool,
}

/// Where the desk puts it.
#[derive(Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Model>>);

impl Shown {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record that is shown.
    pub(super) fn record(&self, record: &Handshake) {
        let row = Row::of(record);
        let rows = &mut self.model().rows;
        if rows.len() >= ROWS_MAX {
            rows.pop_front();
        }
        rows.push_back(row);
    }

    /// The findings that stand, worst first.
    pub(super) fn findings(&self, findings: Vec<Finding>) {
        self.model().findings = findings;
    }

    /// Something to say.
    pub(super) fn notice(&self, notice: &str) {
        let notices = &mut self.model().notices;
        if notices.len() >= NOTICES_MAX {
            notices.pop_front();
        }
        notices.push_back(sanitize::clean(notice).into_owned());
    }
}

/// What the lower part of the screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pane {
    Handshakes,
    Findings,
    /// Lines of a finding's page, and the first one that is seen.
    Page(Vec<String>, usize),
}

/// Longest wait for the screen to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Columns by which handshakes are sorted, in the order of the key.
const SORTS: [&str; 6] = ["time", "client", "server", "name", "version", "outcome"];
const SERVER: usize = 2;
const NAME: usize = 3;

/// What the keys changed.
struct View {
    pane: Pane,
    sort: usize,
    /// Servers and names have a column each.
    wide: bool,
    filter: String,
    typing: bool,
    /// The rows as they were when it was paused.
    paused: Option<(Vec<Row>, Vec<Finding>)>,
    selected: TableState,
    /// The selected finding, which is followed where the list changes: its id and its subject.
    chosen: Option<(String, String)>,
    /// The list that a page was opened from.
    before: Pane,
    lang: Lang,
    colour: bool,
}

impl View {
    fn new(lang: Lang, colour: bool) -> Self {
        Self {
            pane: Pane::Handshakes,
            sort: 0,
            wide: false,
            filter: String::new(),
            typing: false,
            paused: None,
            selected: TableState::default().with_selected(0),
            chosen: None,
            before: Pane::Handshakes,
            lang,
            colour,
        }
    }

    fn rows(&self, model: &Model) -> Vec<Row> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<Row> = match &self.paused {
            Some((rows, _)) => rows
                .iter()
                .filter(|row| row.fits(&wanted))
                .cloned()
                .collect(),
            None => (model.rows.iter().rev())
                .filter(|row| row.fits(&wanted))
                .cloned()
                .collect(),
        };
        if self.sort == SERVER && !self.wide {
            rows.sort_by(|a, b| a.called().cmp(b.called()));
        } else if let Some(column) = self.sort.checked_sub(1) {
            rows.sort_by(
                |a, b| match (a.cells().get(column), b.cells().get(column)) {
                    (Some(a), Some(b)) => a.cmp(b),
                    _ => Order::Equal,
                },
            );
        }
        rows
    }

    /// Sorts by the next column; a name has none of its own on a narrow screen.
    fn sort(&mut self) {
        self.sort = (self.sort + 1) % SORTS.len();
        if self.sort == NAME && !self.wide {
            self.sort();
        }
    }

    fn findings(&self, model: &Model) -> Vec<Finding> {
        let wanted = self.filter.to_lowercase();
        let all = self
            .paused
            .as_ref()
            .map_or(&model.findings, |(_, findings)| findings);
        let fits = |finding: &&Finding| {
            let texts = [&*finding.title, &*finding.subject, &*finding.id];
            wanted.is_empty()
                || texts
                    .iter()
                    .any(|text| text.to_lowercase().contains(&wanted))
        };
        all.iter().filter(fits).cloned().collect()
    }

    /// Heeds a key. `true`: the user wants to leave.
    fn key(&mut self, key: KeyEvent, model: &Model) -> bool {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return true;
        }
        if self.typing {
            match key.code {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => {
                    self.typing = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => {
                    self.filter.pop();
                }
                KeyCode::Char(c) if self.filter.len() < 64 => self.filter.push(c),
                _ => {}
            }
            return false;
        }
        match key.code {
            KeyCode::Char('q') if !matches!(self.pane, Pane::Page(..)) => return true,
            KeyCode::Char('q') | KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Tab => self.pane(if self.pane == Pane::Handshakes {
                Pane::Findings
            } else {
                Pane::Handshakes
            }),
            KeyCode::Char('h') => self.pane(Pane::Handshakes),
            KeyCode::Char('f') => self.pane(Pane::Findings),
            KeyCode::Char('s') => self.sort(),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('p' | ' ') => self.pause(model),
            KeyCode::Char('e') | KeyCode::Enter => self.explain(model),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            _ => {}
        }
        false
    }

    fn pane(&mut self, pane: Pane) {
        self.pane = pane;
        self.chosen = None;
        self.selected.select(Some(0));
    }

    fn back(&mut self) {
        match self.pane {
            Pane::Page(..) => self.pane = self.before.clone(),
            _ => self.filter.clear(),
        }
    }

    fn pause(&mut self, model: &Model) {
        self.paused = match self.paused {
            Some(_) => None,
            None => {
                let rows = model.rows.iter().rev().cloned().collect();
                Some((rows, model.findings.clone()))
            }
        };
    }

    fn step(&mut self, by: isize) {
        if let Pane::Page(lines, top) = &mut self.pane {
            *top = top
                .saturating_add_signed(by)
                .min(lines.len().saturating_sub(1));
        } else {
            let at = self.selected.selected().unwrap_or(0);
            self.selected.select(Some(at.saturating_add_signed(by)));
            self.chosen = None;
        }
    }

    /// Selects the finding that was chosen, wherever it stands by now, and remembers the one that is selected.
    fn follow(&mut self, findings: &[Finding]) {
        let is_chosen = |finding: &Finding| {
            let chosen = self.chosen.as_ref();
            chosen.is_some_and(|(id, subject)| *id == finding.id && *subject == *finding.subject)
        };
        let last = findings.len().saturating_sub(1);
        let at = findings.iter().position(is_chosen);
        let at = at.unwrap_or(self.selected.selected().unwrap_or(0).min(last));
        self.selected.select(Some(at));
        self.chosen =
            (findings.get(at)).map(|finding| (finding.id.to_string(), finding.subject.to_string()));
    }

    /// The page of the selected finding: what was seen, then all there is to say about its kind. Of a handshake: what is
    /// wrong with it.
    fn explain(&mut self, model: &Model) {
        let text = match self.pane {
            Pane::Page(..) => None,
            Pane::Findings => {
                let findings = self.findings(model);
                self.follow(&findings);
                let finding = self.selected.selected().and_then(|at| findings.get(at));
                finding.map(|finding| {
                    draw::particulars(finding) + &self.explanations([finding.id.to_string()])
                })
            }
            Pane::Handshakes => {
                let rows = self.rows(model);
                let row = self.selected.selected().and_then(|at| rows.get(at));
                row.filter(|row| !row.findings.is_empty())
                    .map(|row| draw::of_row(row) + &self.explanations(row.findings.clone()))
            }
        };
        if let Some(text) = text {
            let text = sanitize::clean_lines(&text).into_owned();
            let page = Pane::Page(text.lines().map(str::to_owned).collect(), 0);
            self.before = std::mem::replace(&mut self.pane, page);
        }
    }

    /// All there is to say about kinds of findings.
    fn explanations(&self, ids: impl IntoIterator<Item = String>) -> String {
        let texts = ids
            .into_iter()
            .filter_map(|id| findings::explain(&id, self.lang));
        texts.collect::<Vec<_>>().join("\n\n")
    }
}

/// The screen while it is there.
pub(super) struct Screen {
    shown: Shown,
    thread: JoinHandle<io::Result<()>>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn start(
        shown: Shown,
        board: Arc<Board>,
        progress: Arc<Progress>,
        lang: Lang,
        colour: bool,
    ) -> io::Result<Self> {
        let mut terminal = ratatui::try_init()?;
        let model = shown.clone();
        let thread = thread::spawn(move || {
            let mut view = View::new(lang, colour);
            let result = attend(&mut terminal, &model, &board, &progress, &mut view);
            ratatui::restore();
            progress.stop.store(true, Ordering::SeqCst); // also where it broke off
            result
        });
        Ok(Self { shown, thread })
    }

    /// Gives the terminal back. One that is gone is read from for ever, so it is not waited for.
    pub(super) fn end(self) {
        self.shown.model().over = true;
        let begun = Instant::now();
        while !self.thread.is_finished() {
            if begun.elapsed() > PATIENCE {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        match self.thread.join() {
            Ok(Err(error)) => crate::cli::say(&format!("the screen broke off: {error}")),
            Ok(Ok(())) => {}
            Err(_) => ratatui::restore(),
        }
    }
}

/// Draws and heeds keys until the watching is over or the user leaves.
fn attend(
    terminal: &mut DefaultTerminal,
    shown: &Shown,
    board: &Board,
    progress: &Progress,
    view: &mut View,
) -> io::Result<()> {
    let mut rates = draw::Rates::new(progress);
    loop {
        rates.update(progress);
        {
            let model = shown.model();
            if model.over {
                return Ok(());
            }
            let (rows, findings) = (view.rows(&model), view.findings(&model));
            let notices: Vec<String> = model.notices.iter().cloned().collect();
            drop(model);
            let facts = draw::Facts {
                board,
                progress,
                rates: &rates,
                rows: &rows,
                findings: &findings,
                notices: &notices,
            };
            terminal.draw(|frame| draw::screen(frame, &facts, view))?;
        }
        let due = Instant::now() + DRAW_EVERY;
        while event::poll(due.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    if view.key(key, &shown.model()) {
                        return Ok(());
                    }
                    break; // and draw what it did
                }
                Event::Resize(..) => break,
                _ => {}
            }
        }
    }
}
