//! The lab network, servers and sandbox language of the end-to-end tests.
