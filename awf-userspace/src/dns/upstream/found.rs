//! What the servers say of a question.

use hickory_proto::rr::Record;

/// An answer.
#[derive(Clone, Debug)]
pub(in crate::dns) enum Found {
    /// CNAME chain and records of the type asked for, and nothing else; times to live are bounded.
    Records(Vec<Record>),
    /// The name is there, records of this type are not.
    NoData {
        soa: Option<Record>,
    },
    NoSuchName {
        soa: Option<Record>,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::dns) enum AskError {
    /// The servers said nothing usable.
    #[error("{why}")]
    Failed {
        why: String,
        /// No answer came, which says something of the server, not of the name.
        silent: bool,
    },
    /// The question was not asked: it would carry out too much.
    #[error("{0}")]
    Tunnelling(String),
}

impl AskError {
    pub(super) fn failed(why: impl ToString) -> Self {
        Self::Failed { why: why.to_string(), silent: false }
    }

    pub(super) fn silent(why: impl ToString) -> Self {
        Self::Failed { why: why.to_string(), silent: true }
    }

    pub(super) fn with_remark(self, remark: &str) -> Self {
        match self {
            Self::Failed { why, silent } => Self::Failed { why: format!("{why} ({remark})"), silent },
            other => other,
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        matches!(self, Self::Failed { silent: true, .. })
    }
}
