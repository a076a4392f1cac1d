//! Socket addresses as the kernel programs keep them.
