//! What the exit code says to a script.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was read, and no finding is as bad as `--fail-on`; also when whoever read our output left early.
    Fine,
    /// A finding is as bad as `--fail-on` or worse.
    Findings,
    /// Something could not be read to its end or written; what was read is reported all the same.
    Error,
    /// Ctrl-C (or SIGTERM): the report says what was seen until then.
    Interrupted,
}

impl Exit {
    /// The number that the system gets.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Findings => 1,
            Self::Error => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
