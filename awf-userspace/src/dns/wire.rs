//! DNS messages in and out: what a query asks, and an answer's bytes. Pure; total for any input.

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode},
    rr::{Record, rdata::opt::EdnsOption},
    serialize::binary::{BinDecodable, BinDecoder},
};

use super::answer;

/// The smallest UDP answer every client takes (RFC 1035, 2.3.4).
const UDP_PLAIN: u16 = 512;
/// The largest UDP answer given, whatever the client could take. The path is a loopback interface, so nothing
/// fragments.
const UDP_MAX: u16 = 4096;
/// What we say we take; we take more.
const UDP_OURS: u16 = 1232;
/// Longest explanation, in bytes: with the longest name it still fits into a truncated answer of 512.
const TEXT_MAX: usize = 200;
/// The EDNS option of an extended error (RFC 8914, 2).
const EXTENDED_ERROR: u16 = 15;

/// Codes of RFC 8914, 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    Forged = 4,
    Blocked = 15,
    Filtered = 17,
    NotSupported = 21,
    NetworkError = 23,
    /// "Other": said in words.
    Other = 0,
}

/// How a message travels: over TCP it has no size limit worth the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What was received.
#[derive(Debug)]
pub(super) enum Received {
    /// One question in a query that may be answered.
    Question(Question),
    /// A query that is refused without looking at its name.
    Refused(Metadata, ResponseCode),
    /// Not a query: an answer to it could only make a loop.
    Noise,
}

/// A question, with what its answer has to repeat.
#[derive(Clone, Debug)]
pub(super) struct Question {
    head: Metadata,
    /// As it was asked, its upper and lower case included.
    pub(super) query: Query,
    /// The largest UDP answer its EDNS allows; `None` without EDNS.
    edns: Option<u16>,
}

/// An answer to a [`Question`].
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<Record>,
    /// For negative answers: how long they may be believed (RFC 2308).
    pub(super) soa: Option<Record>,
    /// The reason, for clients that show it (`dig`, systemd-resolved).
    pub(super) why: Option<(ErrorCode, String)>,
}

impl Reply {
    /// A positive answer, or "there is no such record" when `answers` is empty.
    pub(super) fn records(answers: Vec<Record>) -> Self {
        Self { code: ResponseCode::NoError, answers, soa: None, why: None }
    }

    /// A negative answer as the upstream gave it.
    pub(super) fn negative(code: ResponseCode, soa: Option<Record>) -> Self {
        Self { code, answers: Vec::new(), soa: soa.map(answer::bounded_soa), why: None }
    }

    /// A refusal of ours. Without SOA, so that nobody caches it beyond a change of the policy.
    pub(super) fn refusal(code: ResponseCode, error: ErrorCode, text: String) -> Self {
        Self { code, answers: Vec::new(), soa: None, why: Some((error, text)) }
    }
}

/// Reads a message.
pub(super) fn read(bytes: &[u8]) -> Received {
    // The header first: a message that says it has 65,535 questions costs no memory.
    let Ok(header) = Header::read(&mut BinDecoder::new(bytes)) else { return Received::Noise };
    let (head, counts) = (header.metadata, header.counts);
    if head.message_type != MessageType::Query {
        return Received::Noise;
    }
    if head.op_code != OpCode::Query {
        return Received::Refused(head, ResponseCode::NotImp);
    }
    // RFC 9619: exactly one question. Nobody sends records along with it, but for EDNS, TSIG and SIG(0).
    if counts.queries != 1 || counts.answers != 0 || counts.authorities != 0 || counts.additionals > 2 {
        return Received::Refused(head, ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(bytes) else {
        return Received::Refused(head, ResponseCode::FormErr);
    };
    let Some(query) = message.queries.pop() else {
        return Received::Refused(head, ResponseCode::FormErr);
    };
    let edns = message.edns.as_ref();
    if edns.is_some_and(|edns| edns.version() > 0) {
        return Received::Refused(head, ResponseCode::BADVERS);
    }
    let edns = edns.map(|edns| edns.max_payload().clamp(UDP_PLAIN, UDP_MAX));
    Received::Question(Question { head, query, edns })
}

/// The answer to a [`Received::Refused`]: a header, and the OPT record that BADVERS is told in.
pub(super) fn bare(head: &Metadata, code: ResponseCode) -> Vec<u8> {
    let mut message = Message::response(head.id, head.op_code);
    message.metadata = Metadata::response_from_request(head);
    message.metadata.response_code = code;
    if code == ResponseCode::BADVERS {
        message.set_edns(edns(None));
    }
    message.to_vec().unwrap_or_default()
}

/// The bytes of `reply`; over UDP cut to what the client takes, with the TC bit that sends it to TCP.
pub(super) fn write(question: &Question, reply: Reply, transport: Transport) -> Vec<u8> {
    let mut message = Message::response(question.head.id, question.head.op_code);
    message.metadata = Metadata::response_from_request(&question.head);
    message.metadata.recursion_available = true;
    message.metadata.response_code = reply.code;
    message.add_query(question.query.clone());
    message.add_answers(reply.answers);
    message.add_authorities(reply.soa);
    if question.edns.is_some() {
        message.set_edns(edns(reply.why));
    }
    let limit = usize::from(match transport {
        Transport::Udp => question.edns.unwrap_or(UDP_PLAIN),
        Transport::Tcp => u16::MAX,
    });
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= limit => bytes,
        Ok(_) => message.truncate().to_vec().unwrap_or_else(|_| bare(&question.head, ResponseCode::ServFail)),
        Err(e) => {
            log::warn!("an answer about {} cannot be written: {e}", question.query.name());
            bare(&question.head, ResponseCode::ServFail)
        }
    }
}

fn edns(why: Option<(ErrorCode, String)>) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_OURS);
    if let Some((code, mut text)) = why {
        while text.len() > TEXT_MAX {
            text.pop();
        }
        let data = [&(code as u16).to_be_bytes(), text.as_bytes()].concat();
        edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, data));
    }
    edns
}

#[cfg(test)]
mod tests;
