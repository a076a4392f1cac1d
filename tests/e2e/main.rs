//! The promises of awf-bpf, one file each, shown with real clients against the lab. One binary: linking is slow.

mod audit;
mod clients;
mod denial;
mod dns;
mod env;
mod exhaustion;
mod files;
mod founding;
mod hidden;
mod host_ports;
mod host_services;
mod hostile;
mod lab;
mod lifecycle;
mod limits;
mod parting;
mod policy;
mod reference;
mod retry;
mod runtimes;
mod secrets;
mod soak;
mod stdio;
mod streams;
mod terminal;
mod upstream_proxy;
