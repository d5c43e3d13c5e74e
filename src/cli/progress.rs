//! The progress bar on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};
use tlscope::pipeline::{Input, Progress};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

/// A bar that moves by itself until it is dropped. Its thread only looks at counters.
pub(crate) struct Bar {
    bar: ProgressBar,
    end: Option<mpsc::Sender<()>>,
    mover: Option<JoinHandle<()>>,
}

impl Bar {
    /// Shows how far `progress` is on its way through `inputs`.
    /// `endless`: they may grow.
    pub(crate) fn start(inputs: &[Input], endless: bool, progress: Arc<Progress>) -> Self {
        let bar = match total_bytes(inputs).filter(|_| !endless) {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{bar:20} {bytes}/{total_bytes}  {bytes_per_sec}, {eta} left  {msg}",
            )),
            None => ProgressBar::no_length().with_style(style(
                "{spinner} {bytes}  {bytes_per_sec}, {elapsed}  {msg}",
            )),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let (end, ended) = mpsc::channel();
        let moved = bar.clone();
        let mover = thread::spawn(move || {
            while ended.recv_timeout(TICK) == Err(mpsc::RecvTimeoutError::Timeout) {
                moved.set_position(progress.bytes.load(Ordering::Relaxed));
                let handshakes = progress.handshakes.load(Ordering::Relaxed);
                moved.set_message(format!("{handshakes} handshakes"));
            }
        });
        Self {
            bar,
            end: Some(end),
            mover: Some(mover),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(mover) = self.mover.take() {
            let _ = mover.join(); // it can't have panicked, and it would not matter
        }
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Bytes of all inputs, where that is known beforehand.
fn total_bytes(inputs: &[Input]) -> Option<u64> {
    inputs
        .iter()
        .map(|input| match input {
            Input::Stdin => None,
            Input::File(path) => {
                let about = path.metadata().ok()?;
                about.is_file().then_some(about.len())
            }
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_known_only_for_files() {
        let file = Input::File(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into());
        assert!(total_bytes(std::slice::from_ref(&file)) > Some(100));
        assert_eq!(total_bytes(&[file, Input::Stdin]), None);
        assert_eq!(total_bytes(&[Input::File("/no/such/file".into())]), None);
    }

    #[test]
    fn a_bar_ends_when_dropped() {
        drop(Bar::start(
            &[Input::Stdin],
            false,
            Arc::new(Progress::default()),
        ));
    }
}
