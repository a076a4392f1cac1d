//! [`DnsStub`]: what is answered to one query, and what is recorded of it.

use std::{net::IpAddr, sync::Arc, time::Instant};

use hickory_proto::{
    op::ResponseCode,
    rr::{DNSClass, Record as DnsRecord, RecordType},
};
use tokio::sync::Semaphore;

use super::{
    Limits, QuerySource, Upstream, answer,
    given::Given,
    local::{self, Place},
    note,
    refusal::Refusal,
    repeats::Repeats,
    stand_in::StandIns,
    svcb,
    upstream::{AskError, Asked, Found},
    wire::{self, ErrorCode, Question, Received, Reply, Transport},
};
use crate::{
    audit::{ProcessInfo, Record, Recorder},
    policy::{Chosen, DomainName, LivePolicy, Policy, Reason, Verdict},
    resolve::{Resolve, ResolveError},
};

#[cfg(any(test, awf_fuzz))]
pub mod fuzzing;

/// Answers the command's queries. Only a query for an allowed name, and for its addresses or for records that a rule
/// allows, ever leads to a question upstream; of any other nothing leaves this process.
///
/// A denied name "does not exist" (NXDOMAIN). REFUSED would be the honest word, but glibc takes it for a
/// broken server (measured with 2.36): it sends each query twice, stops at the first entry of the search
/// list, and ends in EAI_AGAIN, "temporary failure", upon which programs try again. NXDOMAIN ends in
/// EAI_NONAME after one query. The reason is in the extended error (RFC 8914) and in the audit record.
#[derive(Debug)]
pub struct DnsStub<A> {
    pub(super) policy: Arc<LivePolicy>,
    upstream: Arc<Upstream>,
    recorder: Arc<A>,
    pub(super) source: Arc<dyn QuerySource>,
    given: Given,
    stand_ins: StandIns,
    repeats: Repeats,
    pub(super) limits: Limits,
    pub(super) questions: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
}

/// Where a query came from.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) transport: Transport,
    /// 4 or 6: of the command's own socket.
    pub(super) family: u8,
    pub(super) process: Option<Arc<ProcessInfo>>,
}

impl Peer {
    pub(super) fn new(transport: Transport, ip: IpAddr, process: Option<ProcessInfo>) -> Self {
        let family = if ip.to_canonical().is_ipv4() { 4 } else { 6 };
        Self { transport, family, process: process.map(Arc::new) }
    }
}

/// What to do with a message.
#[derive(Debug)]
pub(super) enum Step {
    Ignore,
    Send(Vec<u8>),
    /// The name is allowed: [`DnsStub::ask`] for it.
    Ask(Ask),
}

/// An allowed question on its way upstream.
#[derive(Debug)]
pub(super) struct Ask {
    question: Question,
    peer: Peer,
    name: DomainName,
    /// By what it was judged, and its answer is.
    policy: Arc<Policy>,
    rule: Arc<str>,
    begun: Instant,
}

impl<A: Recorder> DnsStub<A> {
    #[must_use]
    pub fn new(
        policy: Arc<LivePolicy>,
        upstream: Arc<Upstream>,
        recorder: Arc<A>,
        source: Arc<dyn QuerySource>,
    ) -> Self {
        Self::with_limits(policy, upstream, recorder, source, Limits::default())
    }

    #[must_use]
    pub fn with_limits(
        policy: Arc<LivePolicy>,
        upstream: Arc<Upstream>,
        recorder: Arc<A>,
        source: Arc<dyn QuerySource>,
        limits: Limits,
    ) -> Self {
        let questions = Arc::new(Semaphore::new(limits.questions));
        let connections = Arc::new(Semaphore::new(limits.connections));
        let (given, repeats) = (Given::default(), Repeats::new(Instant::now()));
        let stand_ins = StandIns::default();
        Self { policy, upstream, recorder, source, given, stand_ins, repeats, limits, questions, connections }
    }

    /// Gives addresses that stand for names.
    #[must_use]
    pub fn with_stand_ins(mut self, stand_ins: StandIns) -> Self {
        self.stand_ins = stand_ins;
        self
    }

    /// Judges one message without waiting for anything.
    pub(super) fn judge(&self, bytes: &[u8], peer: &Peer) -> Step {
        match wire::read(bytes) {
            Received::Noise => Step::Ignore,
            Received::Refused(head, code) => {
                self.note(note::unread(peer, code));
                Step::Send(wire::bare(&head, code))
            }
            Received::Question(question) => self.judge_question(question, peer),
        }
    }

    fn judge_question(&self, question: Question, peer: &Peer) -> Step {
        let refuse = |refusal| Step::Send(self.refuse(&question, peer, refusal));
        let kind = question.query.query_type();
        if question.query.query_class() != DNSClass::IN {
            return refuse(Refusal::kind("only class IN is answered"));
        }
        let name = match DomainName::from_labels(question.query.name().iter()) {
            Ok(name) => name,
            Err(e) => {
                return refuse(Refusal::name(Reason::Malformed, format!("not the name of a host: {e}")));
            }
        };
        let policy = self.policy_of(peer);
        let host = policy.opens_host();
        match local::place(question.query.name(), &name, kind, host) {
            // Nothing was decided and nothing leaves: no record.
            Place::Loopback(records) => {
                return Step::Send(wire::write(&question, Reply::records(records), peer.transport));
            }
            Place::Reverse => {
                return refuse(Refusal::name(
                    Reason::DnsTypeRefused,
                    "addresses are not looked up".to_owned(),
                ));
            }
            Place::Elsewhere => {}
        }
        match judge_records(&policy, &name, kind) {
            Verdict::Deny(denied) if denied.reason == Reason::DnsTypeRefused => {
                refuse(Refusal::record(denied))
            }
            Verdict::Deny(denied) => match self.stand_ins.instead(&name, &question) {
                Some(records) => {
                    let refusal = Refusal::later(denied);
                    self.note(note::refused(&question, peer, &refusal));
                    let reply = Reply { answers: records, ..refusal.into_reply() };
                    Step::Send(wire::write(&question, reply, peer.transport))
                }
                None => refuse(Refusal::policy(denied)),
            },
            Verdict::Allow(_) if !self.recorder.is_keeping() => {
                refuse(Refusal::failure(Reason::AuditFailed, "the audit record cannot be written"))
            }
            Verdict::Allow(allowed) => {
                let (peer, rule) = (peer.clone(), allowed.rule);
                self.answer_or_ask(Ask { question, peer, name, policy, rule, begun: Instant::now() })
            }
        }
    }

    /// The policy of now for who asks.
    fn policy_of(&self, peer: &Peer) -> Arc<Policy> {
        let tgid = peer.process.as_ref().map(|process| process.pid);
        self.policy.of_tgid(tgid, |tgid| self.source.started(tgid))
    }

    /// What is known is answered at once.
    fn answer_or_ask(&self, ask: Ask) -> Step {
        match self.upstream.known(&Self::asked(&ask)) {
            Some(found) => Step::Send(self.answer(ask, Ok(found))),
            None => Step::Ask(ask),
        }
    }

    fn asked(ask: &Ask) -> Asked<'_> {
        let chosen = ask.policy.chosen(&ask.name);
        Asked { name: &ask.name, kind: ask.question.query.query_type(), chosen }
    }

    /// Asks upstream and makes the answer.
    pub(super) async fn ask(&self, ask: Ask) -> Vec<u8> {
        match self.stand_ins.answer(&ask.name, &ask.question) {
            Some(Ok(records)) => {
                let reply = Reply::records(records);
                self.note(note::allowed(&ask.question, &ask.peer, Reason::Allowed, &ask.rule, &reply, None));
                return wire::write(&ask.question, reply, ask.peer.transport);
            }
            Some(Err(refusal)) => return self.refuse(&ask.question, &ask.peer, refusal),
            None => {}
        }
        let found = self.upstream.ask(&Self::asked(&ask)).await;
        self.answer(ask, found)
    }

    fn answer(&self, ask: Ask, found: Result<Found, AskError>) -> Vec<u8> {
        let Ask { question, peer, name, policy, rule, begun } = ask;
        let (reason, reply) = match found {
            Ok(Found::Records(records)) => match self.pass_on(&policy, (&question, &name), records) {
                Ok(answers) => (Reason::Allowed, Reply::records(answers)),
                Err(refusal) => return self.refuse(&question, &peer, refusal),
            },
            Ok(Found::NoData { soa }) => (Reason::Allowed, Reply::negative(ResponseCode::NoError, soa)),
            Ok(Found::NoSuchName { soa }) => (Reason::Allowed, Reply::negative(ResponseCode::NXDomain, soa)),
            Err(AskError::Tunnelling(why)) => {
                let refusal = Refusal::name(Reason::DnsTunnelling, why);
                return self.refuse(&question, &peer, refusal);
            }
            Err(AskError::Failed { why, .. }) => {
                log::warn!("resolving {}: {why}", question.query.name());
                (Reason::ResolveFailed, Reply::refusal(ResponseCode::ServFail, ErrorCode::NetworkError, why))
            }
        };
        self.note(note::allowed(&question, &peer, reason, &rule, &reply, Some(begun.elapsed())));
        wire::write(&question, reply, peer.transport)
    }

    /// The records the command may have. The proxy looks each name up itself, so a forbidden address in an
    /// answer would open nothing there; but what is direct for the command, its own loopback, must not go by
    /// an outside name.
    fn pass_on(
        &self,
        policy: &Policy,
        (question, name): (&Question, &DomainName),
        records: Vec<DnsRecord>,
    ) -> Result<Vec<DnsRecord>, Refusal> {
        let mut answers = svcb::filter(answer::spelt(records, question.query.name()), name, policy);
        let forbidden = answer::retain_addresses(&mut answers, |ip| policy.may_answer(ip));
        if forbidden > 0 && answer::addresses(&answers).next().is_none() {
            return Err(Refusal::addresses(format!(
                "{name} leads only to addresses that must not be dialled"
            )));
        }
        // Before the answer leaves: the connection it is for may follow at once.
        let told = answer::addresses(&answers).chain(svcb::hints(&answers));
        self.given.add(name, told, Instant::now());
        Ok(answers)
    }

    /// Refuses a question there is no room for.
    pub(super) fn overloaded(&self, ask: &Ask) -> Vec<u8> {
        let refusal = Refusal::failure(Reason::LimitExceeded, "too many questions at once");
        self.refuse(&ask.question, &ask.peer, refusal)
    }

    fn refuse(&self, question: &Question, peer: &Peer, refusal: Refusal) -> Vec<u8> {
        self.note(note::refused(question, peer, &refusal));
        wire::write(question, refusal.into_reply(), peer.transport)
    }

    pub(super) fn note(&self, record: Record) {
        if let Some(record) = self.repeats.take(record, Instant::now()) {
            self.recorder.record(self.recorder.next_id(), record);
        }
    }

    /// Records the repeated queries whose time has come; all of them at the `end`.
    pub(super) fn note_repeats(&self, end: bool) {
        for record in self.repeats.due(Instant::now(), end) {
            self.recorder.record(self.recorder.next_id(), record);
        }
    }
}

/// Addresses, and what clients ask for beside them, are part of a name that may be connected to; other records have
/// rules of their own.
fn judge_records(policy: &Policy, name: &DomainName, kind: RecordType) -> Verdict {
    match kind {
        RecordType::A | RecordType::AAAA => policy.judge_name(name),
        RecordType::HTTPS | RecordType::SVCB => match policy.judge_name(name) {
            Verdict::Deny(denied) => match policy.judge_record(name, kind.into()) {
                Verdict::Deny(_) => Verdict::Deny(denied),
                allowed => allowed,
            },
            allowed => allowed,
        },
        _ => policy.judge_record(name, kind.into()),
    }
}

impl<A: Recorder> Resolve for DnsStub<A> {
    async fn resolve(&self, name: &DomainName, chosen: Chosen<'_>) -> Result<Vec<IpAddr>, ResolveError> {
        self.upstream.resolve(name, chosen).await
    }

    fn may_tell(&self, name: &DomainName, chosen: &Chosen<'_>) -> Result<(), ResolveError> {
        self.upstream.tell(name, chosen)
    }

    fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        match self.stand_ins.name_of(ip) {
            Some(name) => vec![name],
            None => self.given.names_of(ip, Instant::now()),
        }
    }

    async fn resolve_host(&self, name: &DomainName) -> Result<Vec<IpAddr>, ResolveError> {
        // The operator's choice, all of it: nobody tunnels by it.
        let asked = self.upstream.resolve(name, Chosen::nothing(name)).await;
        let Err(error) = asked else { return asked };
        match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(_) => Err(error),
        }
    }
}
