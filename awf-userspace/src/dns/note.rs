//! The audit records of queries. Their `method` is the query type, their `status` the response code (RFC
//! 1035, 4.1.1); `ip` is the first address given.

use std::time::Duration;

use hickory_proto::op::ResponseCode;

use super::{
    answer,
    refusal::Refusal,
    stub::Peer,
    wire::{Question, Reply},
};
use crate::{
    audit::{Decision, EventKind, Record},
    policy::Reason,
};

/// An allowed name, whether or not something was found.
pub(super) fn allowed(
    question: &Question,
    peer: &Peer,
    reason: Reason,
    rule: &str,
    reply: &Reply,
    took: Option<Duration>,
) -> Record {
    Record {
        rule: Some(rule.to_owned()),
        ip: answer::addresses(&reply.answers).next(),
        ms: took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        ..asked(question, base(peer, Decision::Allow, reason, reply.code))
    }
}

/// A question that was refused.
pub(super) fn refused(question: &Question, peer: &Peer, refusal: &Refusal) -> Record {
    let denied = &refusal.denied;
    Record {
        rule: denied.rule.as_deref().map(str::to_owned),
        allow_with: denied.allow_with.clone(),
        ..asked(question, base(peer, Decision::Deny, denied.reason, refusal.code))
    }
}

/// A query refused before its question was read.
pub(super) fn unread(peer: &Peer, code: ResponseCode) -> Record {
    let reason = if code == ResponseCode::NotImp { Reason::DnsTypeRefused } else { Reason::Malformed };
    base(peer, Decision::Deny, reason, code)
}

/// A connection that the kernel side knows nothing of; it is closed unread.
pub(super) fn stranger(peer: &Peer) -> Record {
    Record { status: None, ..base(peer, Decision::Deny, Reason::NoOrigin, ResponseCode::Refused) }
}

fn asked(question: &Question, record: Record) -> Record {
    // As text, so that odd bytes in a name are escaped; in lower case and without the root, as everywhere
    // else.
    let host = question.query.name().to_ascii().to_ascii_lowercase();
    let host = host.strip_suffix('.').filter(|host| !host.is_empty()).unwrap_or(&host).to_owned();
    Record { host: Some(host), method: Some(question.query.query_type().to_string()), ..record }
}

fn base(peer: &Peer, decision: Decision, reason: Reason, code: ResponseCode) -> Record {
    Record {
        family: Some(peer.family),
        proto: Some("dns"),
        status: Some(code.into()),
        process: peer.process.as_deref().cloned(),
        ..Record::new(EventKind::Dns, decision, reason)
    }
}
