//! Giving up privileges for good. Order: bounding set and securebits need CAP_SETPCAP, so they come before the
//! change of uid; the sets themselves are emptied after it, and checked.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
};

use super::error::JailError;

/// Until `execve` no process of the user may look into, or trace, this one.
pub(super) fn make_unreadable() -> Result<(), JailError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("set PR_SET_DUMPABLE to 0"))
}

/// Takes every capability the kernel knows out of the bounding set, and clears the ambient set.
pub(super) fn empty_bounding_set() -> Result<(), JailError> {
    for bit in 0..=last_capability()? {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit))
            .map_err(failed("empty the capability bounding set"))?;
    }
    clear_ambient_capability_set().map_err(failed("clear the ambient capabilities"))
}

/// Neither uid 0 nor a file's capabilities mean anything from here on, and none of that can be changed back.
pub(super) fn lock_securebits() -> Result<(), JailError> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        // Unset and locked: the change of uid shall clear the capabilities by itself, too.
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).map_err(failed("lock the securebits"))
}

/// Empties the effective, permitted and inheritable sets, and checks that they are empty.
pub(super) fn drop_capabilities() -> Result<(), JailError> {
    keep_only(CapabilitySet::empty())
}

/// Leaves `kept` in the effective and permitted sets and nothing else anywhere, and checks it.
pub(super) fn keep_only(kept: CapabilitySet) -> Result<(), JailError> {
    let wanted = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, wanted).map_err(failed("drop the capabilities"))?;
    let left = capabilities(None).map_err(failed("read the capabilities"))?;
    if left == wanted { Ok(()) } else { Err(JailError::CapabilitiesLeft) }
}

/// setuid and setgid files do nothing any more.
pub(super) fn no_new_privileges() -> Result<(), JailError> {
    set_no_new_privs(true).map_err(failed("set PR_SET_NO_NEW_PRIVS"))
}

fn last_capability() -> Result<u32, JailError> {
    let path = "/proc/sys/kernel/cap_last_cap";
    std::fs::read_to_string(path)
        .and_then(|text| text.trim().parse().map_err(io::Error::other))
        .and_then(|last| if last < u64::BITS { Ok(last) } else { Err(io::Error::other("above 63")) })
        .map_err(|source| JailError::Privileges { action: "read /proc/sys/kernel/cap_last_cap", source })
}

fn failed(action: &'static str) -> impl Fn(rustix::io::Errno) -> JailError {
    move |errno| JailError::Privileges { action, source: errno.into() }
}
