//! tunnel tests
