//! How a command ends, as scripts see it. The only table of exit codes.

/// The outcome of a command. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// Something failed, or a check said no.
    Failed = 1,
    /// The command line, its input or the settings are wrong.
    Usage = 2,
    /// The work was cancelled, or stopping took too long.
    Cancelled = 3,
    /// The credential is missing, wrong or not enough.
    Auth = 4,
    NotFound = 5,
    /// The state forbids it, or somebody else changed it first.
    Conflict = 6,
    /// Too many requests, or a quota is used up.
    Limited = 7,
    /// The server, or its store, cannot be reached.
    Unavailable = 8,
    /// The work that was waited for ended, but not well.
    WorkFailed = 10,
    /// The work that was waited for did not end in time.
    WaitTimedOut = 11,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    pub(crate) const ALL: [Self; 12] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Cancelled,
        Self::Auth,
        Self::NotFound,
        Self::Conflict,
        Self::Limited,
        Self::Unavailable,
        Self::WorkFailed,
        Self::WaitTimedOut,
        Self::Interrupted,
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for the help.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed, or a check said no",
            Self::Usage => "wrong use, input or settings",
            Self::Cancelled => "cancelled, or stopping took too long",
            Self::Auth => "no or not enough credentials",
            Self::NotFound => "not found",
            Self::Conflict => "conflict with the present state",
            Self::Limited => "rate limit or quota",
            Self::Unavailable => "server unavailable",
            Self::WorkFailed => "the work ended, but failed",
            Self::WaitTimedOut => "the wait was over before the work",
            Self::Interrupted => "interrupted",
        }
    }

    /// What an HTTP status means for a script.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            400 | 405 | 413 | 415 | 422 => Self::Usage,
            401 | 403 => Self::Auth,
            404 | 410 => Self::NotFound,
            409 | 412 | 428 => Self::Conflict,
            429 => Self::Limited,
            500..=599 => Self::Unavailable,
            _ => Self::Failed,
        }
    }
}

/// The table, as it stands at the end of the help.
pub(crate) fn help() -> String {
    let rows = Exit::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", rows.join("\n"))
}
