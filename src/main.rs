//! The tlscope command: arguments in, report and exit code out. All the work is the library's.

#![forbid(unsafe_code)]

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
