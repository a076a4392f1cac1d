//! Why a question is refused and how that is said in DNS.

use hickory_proto::op::ResponseCode;

use super::wire::{ErrorCode, Reply};
use crate::policy::{Denied, Reason};

/// One refusal: the policy's words, and the codes that carry them.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: ResponseCode,
    error: ErrorCode,
    pub(super) denied: Denied,
}

impl Refusal {
    /// The policy does not allow the name.
    pub(super) fn policy(denied: Denied) -> Self {
        Self { code: ResponseCode::NXDomain, error: ErrorCode::Blocked, denied }
    }

    /// The same, where connecting will tell.
    pub(super) fn later(denied: Denied) -> Self {
        Self { code: ResponseCode::NoError, error: ErrorCode::Forged, denied }
    }

    /// Nothing to do with the policy: no name like this is looked up.
    pub(super) fn name(reason: Reason, message: String) -> Self {
        Self::policy(denied(reason, message))
    }

    /// The name may be fine, this type or class of record is not answered.
    pub(super) fn kind(message: &str) -> Self {
        let denied = denied(Reason::DnsTypeRefused, message.to_owned());
        Self { code: ResponseCode::Refused, error: ErrorCode::NotSupported, denied }
    }

    /// The policy allows the name, but not records of this type.
    pub(super) fn record(denied: Denied) -> Self {
        Self { code: ResponseCode::Refused, error: ErrorCode::NotSupported, denied }
    }

    /// The name has no address the command may have. The name is there and may have addresses of the other
    /// family, so this is "no such record", not "no such name".
    pub(super) fn addresses(message: String) -> Self {
        let denied = denied(Reason::ForbiddenAddress, message);
        Self { code: ResponseCode::NoError, error: ErrorCode::Filtered, denied }
    }

    /// It may work another time.
    pub(super) fn failure(reason: Reason, message: &str) -> Self {
        let denied = denied(reason, message.to_owned());
        Self { code: ResponseCode::ServFail, error: ErrorCode::Other, denied }
    }

    pub(super) fn into_reply(self) -> Reply {
        let Denied { message, allow_with, reason, .. } = self.denied;
        let hint = allow_with.map_or_else(String::new, |flag| format!("; to allow it: {flag}"));
        Reply::refusal(self.code, self.error, format!("awf-bpf ({reason}): {message}{hint}"))
    }
}

fn denied(reason: Reason, message: String) -> Denied {
    Denied { reason, rule: None, message, allow_with: None }
}
