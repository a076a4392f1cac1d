//! Tests of the whole proxy.
