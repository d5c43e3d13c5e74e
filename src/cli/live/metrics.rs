//! Metrics in Prometheus' text format, and `/healthz`, over as little HTTP as that takes: GET, one answer, the end. One
//! connection at a time, with short deadlines; whoever is slow is left.

use super::system::Memory;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tlscope::{capture::live::Counts, pipeline::Progress};

/// Longest request that is read, and how long is waited for it.
const REQUEST_BYTES_MAX: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(2);
/// The pipe moves several times a second; after this long without it something is wrong.
const STILL: Duration = Duration::from_secs(10);

/// An address, or a port on loopback.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text).parse();
    if let Ok(port) = port {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| format!("`{text}` is no address; write it as 127.0.0.1:9184 or 9184"))
}

/// Takes the port.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    TcpListener::bind(address).with_context(|| format!("--metrics {address}: can't be served"))
}

/// What the pipe says of itself from time to time.
#[derive(Default)]
pub(super) struct Posted {
    pub(super) by_outcome: BTreeMap<String, u64>,
    pub(super) by_version: BTreeMap<String, u64>,
    /// Errors, warnings, hints that stand.
    pub(super) findings: [usize; 3],
    pub(super) lines_lost: u64,
    /// The time that the analysis has reached.
    pub(super) time_ns: i64,
}

/// Where it is posted.
pub(super) struct Board {
    names: Vec<String>,
    kernel: Vec<Arc<Counts>>,
    posted: Mutex<(Posted, Instant)>,
    /// Opened before files are fenced off.
    memory: Memory,
    started: Instant,
}

impl Board {
    pub(super) fn new(names: Vec<String>, kernel: Vec<Arc<Counts>>) -> Self {
        Self {
            names,
            kernel,
            posted: Mutex::new((Posted::default(), Instant::now())),
            memory: Memory::open(),
            started: Instant::now(),
        }
    }

    pub(super) fn post(&self, posted: Posted) {
        *self.posted.lock().unwrap_or_else(PoisonError::into_inner) = (posted, Instant::now());
    }

    #[cfg(feature = "screen")]
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    #[cfg(feature = "screen")]
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Received and dropped packets of all interfaces.
    #[cfg(feature = "screen")]
    pub(super) fn kernel_now(&self) -> (u64, u64) {
        let all = self.kernel.iter().map(|counts| counts.now());
        all.fold((0, 0), |sum, now| {
            (sum.0 + now.received, sum.1 + now.dropped)
        })
    }

    /// Records by version and by outcome.
    #[cfg(feature = "screen")]
    pub(super) fn counted(&self) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        (posted.0.by_version.clone(), posted.0.by_outcome.clone())
    }

    /// Errors, warnings and hints that stand.
    #[cfg(feature = "screen")]
    pub(super) fn findings(&self) -> [usize; 3] {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.0.findings
    }

    fn is_well(&self) -> bool {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.1.elapsed() < STILL
    }

    #[allow(clippy::cast_precision_loss)] // seconds for people
    fn text(&self, progress: &Progress) -> String {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        let posted = &posted.0;
        let mut page = Page::default();
        let total = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        page.begin("tlscope_packets_total", "counter", "Packets analysed.");
        page.one("", total(&progress.packets));
        page.begin(
            "tlscope_bytes_total",
            "counter",
            "Bytes taken from the kernel.",
        );
        page.one("", total(&progress.bytes));
        page.begin(
            "tlscope_kernel_received_packets_total",
            "counter",
            "Packets that passed the kernel's filter, dropped ones included.",
        );
        for (name, counts) in self.names.iter().zip(&self.kernel) {
            page.one(&label("interface", name), counts.now().received);
        }
        page.begin(
            "tlscope_kernel_dropped_packets_total",
            "counter",
            "Packets that the kernel dropped, for the analysis was behind.",
        );
        for (name, counts) in self.names.iter().zip(&self.kernel) {
            page.one(&label("interface", name), counts.now().dropped);
        }
        page.begin("tlscope_handshakes_total", "counter", "Records by outcome.");
        for (outcome, count) in &posted.by_outcome {
            page.one(&label("outcome", outcome), *count);
        }
        page.begin(
            "tlscope_negotiated_total",
            "counter",
            "Records by negotiated version.",
        );
        for (version, count) in &posted.by_version {
            page.one(&label("version", version), *count);
        }
        page.begin(
            "tlscope_findings",
            "gauge",
            "Findings that stand, by severity.",
        );
        for (severity, count) in ["error", "warning", "info"].iter().zip(posted.findings) {
            page.one(&label("severity", severity), count as u64);
        }
        let held = |of: fn(&tlscope::pipeline::Held) -> &std::sync::atomic::AtomicU64| {
            progress
                .shards
                .iter()
                .map(|held| total(of(held)))
                .sum::<u64>()
        };
        page.begin(
            "tlscope_conversations",
            "gauge",
            "Conversations held, ended ones that linger included.",
        );
        page.one("", held(|held| &held.conversations));
        page.begin(
            "tlscope_conversations_bytes",
            "gauge",
            "Memory for conversations.",
        );
        page.one("", held(|held| &held.bytes));
        page.begin(
            "tlscope_lines_lost_total",
            "counter",
            "Lines that a full disk took.",
        );
        page.one("", posted.lines_lost);
        if let Some(bytes) = self.memory.resident_bytes() {
            page.begin(
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory, the rings included.",
            );
            page.one("", bytes);
        }
        let now_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_nanos() as i64);
        page.begin(
            "tlscope_lag_seconds",
            "gauge",
            "How far the analysis is behind the clock, to half a second.",
        );
        page.number(
            "",
            (now_ns.saturating_sub(posted.time_ns)).max(0) as f64 / 1e9,
        );
        page.begin(
            "tlscope_uptime_seconds",
            "gauge",
            "Time since the watching began.",
        );
        page.number("", self.started.elapsed().as_secs_f64());
        page.0
    }
}

/// A page of metrics.
#[derive(Default)]
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn one(&mut self, labels: &str, value: u64) {
        let name = self.name();
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn number(&mut self, labels: &str, value: f64) {
        let name = self.name();
        let _ = writeln!(self.0, "{name}{labels} {value:.3}");
    }

    /// The metric that was begun last.
    fn name(&self) -> String {
        let last = self.0.rsplit("# TYPE ").next().unwrap_or_default();
        last.split(' ').next().unwrap_or_default().to_owned()
    }
}

fn label(key: &str, value: &str) -> String {
    let value = value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    format!("{{{key}=\"{value}\"}}")
}

/// The server.
pub(super) struct Metrics;

impl Metrics {
    /// Answers in a thread of its own.
    pub(super) fn serve(listener: TcpListener, board: Arc<Board>, progress: Arc<Progress>) {
        thread::spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => answer(stream, &board, &progress),
                    // Out of descriptors, perhaps: not again at once.
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        });
    }
}

/// Reads a request and answers it; whoever went away does not matter.
fn answer(mut stream: TcpStream, board: &Board, progress: &Progress) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Some(request) = read_request(&mut stream) else {
        return;
    };
    let (status, body) = match path_of(&request) {
        Some("/metrics") => ("200 OK", board.text(progress)),
        Some("/healthz") if board.is_well() => ("200 OK", "ok\n".to_owned()),
        Some("/healthz") => (
            "503 Service Unavailable",
            "the analysis stands still\n".to_owned(),
        ),
        Some(_) => (
            "404 Not Found",
            "/metrics and /healthz are here\n".to_owned(),
        ),
        None => ("405 Method Not Allowed", "GET is understood\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()));
}

/// All up to the empty line, within time and length.
fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let begun = Instant::now();
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES_MAX || begun.elapsed() > PATIENCE {
            return None;
        }
        let read = stream.read(&mut part).ok()?;
        request.extend_from_slice(part.get(..read).filter(|part| !part.is_empty())?);
    }
    Some(request)
}

/// The path of a GET, without what is asked of it.
fn path_of(request: &[u8]) -> Option<&str> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let path = std::str::from_utf8(line).ok()?.strip_prefix("GET ")?;
    path.split([' ', '?']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(request: &str, board: &Arc<Board>) -> String {
        let listener = bind(parse_address("0").unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        Metrics::serve(listener, Arc::clone(board), Arc::default());
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer); // what is no request gets no answer
        answer
    }

    #[test]
    fn metrics_and_health_are_served() {
        let board = Arc::new(Board::new(vec!["eth\"0".to_owned()], vec![Arc::default()]));
        board.kernel[0].add(7, 3);
        board.post(Posted {
            by_outcome: [("established".to_owned(), 5)].into(),
            findings: [1, 0, 2],
            ..Posted::default()
        });
        let text = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &board);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
        for line in [
            "tlscope_kernel_dropped_packets_total{interface=\"eth\\\"0\"} 3",
            "tlscope_handshakes_total{outcome=\"established\"} 5",
            "tlscope_findings{severity=\"error\"} 1",
            "# TYPE tlscope_lag_seconds gauge",
        ] {
            assert!(text.lines().any(|has| has == line), "{line}: {text}");
        }
        let memory = text
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "))
            .unwrap();
        assert!(memory.parse::<u64>().unwrap() > 1 << 20);
        assert!(ask("GET /healthz HTTP/1.0\r\n\r\n", &board).ends_with("\r\n\r\nok\n"));
        assert!(ask("GET / HTTP/1.1\r\n\r\n", &board).starts_with("HTTP/1.1 404"));
        assert!(ask("POST /metrics HTTP/1.1\r\n\r\n", &board).starts_with("HTTP/1.1 405"));
        assert_eq!(ask(&"x".repeat(9000), &board), "", "no request");
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert!(parse_address("9184").unwrap().ip().is_loopback());
        assert!(parse_address(":9184").unwrap().ip().is_loopback());
        assert!(!parse_address("[::]:9184").unwrap().ip().is_loopback());
        assert!(parse_address("localhost").is_err());
    }
}
