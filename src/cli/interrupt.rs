//! Ctrl-C: the first one ends the reading and lets the report be finished, the second one quits at once.

use super::{exit::Exit, output::Unfinished, say};
use std::sync::{Arc, atomic::Ordering};
use tlscope::pipeline::Progress;

/// From now on Ctrl-C (and SIGTERM, and a closed console window) sets [`Progress::stop`]; the second one removes the
/// unfinished output and quits.
pub(crate) fn watch(progress: Arc<Progress>, unfinished: Unfinished) {
    let handler = move || {
        if progress.stop.swap(true, Ordering::SeqCst) {
            unfinished.remove();
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        say("stopping: the report will hold what was read so far (Ctrl-C again quits at once)");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        say(&format!("Ctrl-C will quit without a report: {error}"));
    }
}
