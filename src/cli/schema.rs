//! `tlscope schema`: the promise that programs reading NDJSON can rely on, made from the types that write it.

use super::{exit::Exit, output::Output};
use std::io::Write;
use tlscope::record::Line;

/// Prints the schema.
pub(crate) fn run() -> anyhow::Result<Exit> {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Line))?;
    let mut output = Output::stdout(false);
    let written = writeln!(output, "{schema}");
    written.map_err(|error| output.fault(error))?;
    output.finish()?;
    Ok(Exit::Fine)
}
