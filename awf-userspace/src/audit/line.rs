//! The text of one record: masked, bounded, one line of JSON.

use std::num::NonZeroU8;

use serde::{
    Serialize, Serializer,
    ser::{Error, SerializeMap},
};
use time::{
    OffsetDateTime,
    format_description::well_known::{
        Iso8601,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

use super::{
    EventId, ProcessInfo, Record,
    bound::{self, cut, cut_argv},
    mask,
};

/// Changes when a field changes its meaning or goes, not when one is added.
const SCHEMA: &str = "audit/v1";

/// RFC 3339 in UTC with milliseconds: `2026-01-02T03:04:05.006Z`.
const TIMESTAMP: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

/// One record about to be written. Serialises to the fields of the audit format, in their order; what is not
/// known is absent.
pub(super) struct Line<'a> {
    pub(super) at: OffsetDateTime,
    pub(super) run: &'a str,
    pub(super) id: &'a EventId,
    pub(super) record: &'a Record,
}

impl Line<'_> {
    /// The line with its line feed.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.record;
        let text = |text: &String| cut(text.clone(), bound::TEXT);
        let timestamp = self.at.format(&Iso8601::<TIMESTAMP>).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("_schema", SCHEMA)?;
        map.serialize_entry("timestamp", &timestamp)?;
        map.serialize_entry("event", &record.event)?;
        map.serialize_entry("id", self.id.as_str())?;
        map.serialize_entry("run", self.run)?;
        map.serialize_entry("decision", &record.decision)?;
        map.serialize_entry("reason", record.reason.as_str())?;
        known(&mut map, "rule", record.rule.as_ref().map(text))?;
        known(&mut map, "host", record.host.as_ref().map(text))?;
        known(&mut map, "port", record.port)?;
        known(&mut map, "ip", record.ip)?;
        known(&mut map, "via", record.via.as_ref().map(text))?;
        known(&mut map, "family", record.family)?;
        known(&mut map, "proto", record.proto)?;
        known(&mut map, "method", record.method.as_ref().map(text))?;
        known(&mut map, "url", record.url.as_deref().map(|url| cut(mask::url(url), bound::URL)))?;
        known(&mut map, "status", record.status)?;
        known(&mut map, "tls_alert", record.tls_alert)?;
        known(&mut map, "detail", record.detail.as_ref().map(text))?;
        known(&mut map, "bytes_up", record.bytes_up)?;
        known(&mut map, "bytes_down", record.bytes_down)?;
        known(&mut map, "ms", record.ms)?;
        known(&mut map, "requests", record.requests)?;
        known(&mut map, "count", record.count)?;
        if let Some(process) = &record.process {
            process_fields(&mut map, process)?;
        }
        map.end()
    }
}

fn process_fields<M: SerializeMap>(map: &mut M, process: &ProcessInfo) -> Result<(), M::Error> {
    let path = |path: &String| cut(path.clone(), bound::PATH);
    map.serialize_entry("pid", &process.pid)?;
    known(map, "ppid", process.ppid)?;
    map.serialize_entry("comm", &cut(process.comm.clone(), bound::TEXT))?;
    known(map, "exe", process.exe.as_ref().map(path))?;
    known(map, "argv", process.argv.as_deref().map(|argv| cut_argv(mask::argv(argv))))?;
    if !process.ancestors.is_empty() {
        let nearest: Vec<_> = process.ancestors.iter().take(bound::ANCESTORS).map(path).collect();
        map.serialize_entry("ancestors", &nearest)?;
    }
    known(map, "uid", process.uid)?;
    known(map, "step", process.step.as_ref().map(|step| cut(step.clone(), bound::TEXT)))
}

fn known<M: SerializeMap>(map: &mut M, key: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, &value))
}
