//! Maps and constants shared by the programs.

use awf_common::{
    Event, Globals, Origin, PortSet, SockKey,
    event::{Counter, ImageBuffer},
};
use aya_ebpf::{
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    btf_maps::{Array, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_sk_storage_get},
    macros::btf_map,
};
use core::{ffi::c_void, mem::MaybeUninit, ptr};

/// Written by the loader before the programs are loaded; frozen after.
#[unsafe(no_mangle)]
static GLOBALS: Globals = Globals { proxy_port: 0, dns_port: 0, shared_netns: 0, reserved: [0; 3], netns: 0 };

/// The open ports of the host's loopback; written and frozen likewise.
#[unsafe(no_mangle)]
static HOST_PORTS: PortSet = PortSet::EMPTY;

/// What each socket of the command asked for last; dies with the socket, so it can be neither exhausted nor stale.
#[btf_map]
pub(crate) static CL_ORIGIN: SkStorage<Origin> = SkStorage::new();

/// The same for the sockets the proxy accepted; userspace reads it by file descriptor.
#[btf_map]
pub(crate) static AC_ORIGIN: SkStorage<Origin> = SkStorage::new();

/// From the SYN to the accepted socket. Evicted means missing means refused.
#[btf_map]
pub(crate) static PENDING: LruHashMap<SockKey, Origin, 16384> = LruHashMap::new();

/// Who sent a datagram to the stub, by its source; evicted means not named.
#[btf_map]
pub(crate) static QUERIES: LruHashMap<SockKey, Origin, 4096> = LruHashMap::new();

/// 1 MiB: about 10,000 connections or 3,000 programs, which are told of with their arguments.
#[btf_map]
pub(crate) static EVENTS: RingBuf<Event, 0x10_0000> = RingBuf::new();

/// The id of the command's cgroup and its depth below the root, 0 if that is not known; written by the loader.
#[btf_map]
pub(crate) static AGENT: Array<u64, 2> = Array::new();

/// Marks the listeners of this run, by userspace; dies with them. Whoever takes their port next has none.
#[btf_map]
pub(crate) static LISTENERS: SkStorage<u32> = SkStorage::new();

/// Of a socket in a shared network: one of [`awf_common::birth`].
#[btf_map]
pub(crate) static BIRTH: SkStorage<u32> = SkStorage::new();

/// Where what is told of a new program is put together.
#[btf_map]
pub(crate) static IMAGE: PerCpuArray<ImageBuffer, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::COUNT }> = PerCpuArray::new();

/// The loader's constants.
#[inline(always)]
pub(crate) fn globals() -> Globals {
    // SAFETY: the static is initialised; volatile because the loader replaces its bytes after compilation.
    unsafe { ptr::read_volatile(&raw const GLOBALS) }
}

/// Whether `port` of the host's loopback is open to the command.
#[inline(always)]
pub(crate) fn is_host_port(port: u16) -> bool {
    // Through the stack: the verifier bounds what is loaded as 16 bits, and forgets it of what was byte-swapped.
    let mut slot = MaybeUninit::<u16>::uninit();
    // SAFETY: the slot is written before it is read.
    let port = unsafe {
        ptr::write_volatile(slot.as_mut_ptr(), port);
        ptr::read_volatile(slot.as_ptr())
    };
    // SAFETY: `PortSet::word` of 16 bits is at most 1023; volatile because the loader replaces the bytes.
    let word =
        unsafe { ptr::read_volatile((&raw const HOST_PORTS.0).cast::<u64>().add(PortSet::word(port))) };
    word & PortSet::bit(port) != 0
}

/// Adds one to a counter of this CPU and returns its new value.
#[inline(always)]
pub(crate) fn count(counter: Counter) -> u64 {
    match COUNTERS.get_ptr_mut(counter as u32) {
        Some(slot) => {
            // SAFETY: the map hands out this CPU's slot, valid while the program runs.
            unsafe {
                *slot += 1;
                *slot
            }
        }
        None => 0,
    }
}

/// The storage of `sk` in `map`, if it has one.
#[inline(always)]
pub(crate) fn stored<T>(map: &SkStorage<T>, sk: *mut c_void) -> Option<*mut T> {
    storage(map, sk, 0)
}

/// Writes `value` into the storage of `sk`, making it where there is none; false when memory is short.
#[inline(always)]
pub(crate) fn store<T: Copy>(map: &SkStorage<T>, sk: *mut c_void, value: &T) -> bool {
    match storage(map, sk, u64::from(BPF_SK_STORAGE_GET_F_CREATE)) {
        Some(slot) => {
            // SAFETY: the helper returned the value of a live socket's storage.
            unsafe { *slot = *value };
            true
        }
        None => false,
    }
}

#[inline(always)]
fn storage<T>(map: &SkStorage<T>, sk: *mut c_void, flags: u64) -> Option<*mut T> {
    if sk.is_null() {
        return None;
    }
    let map = ptr::from_ref(map).cast_mut().cast::<c_void>();
    // SAFETY: `map` is a map the loader relocates, `sk` a non-null socket of the context.
    let value = unsafe { bpf_sk_storage_get(map, sk, ptr::null_mut(), flags) }.cast::<T>();
    if value.is_null() { None } else { Some(value) }
}

/// What [`BIRTH`] says of `sk`; 0 for nothing.
#[inline(always)]
pub(crate) fn birth(sk: *mut c_void) -> u32 {
    match stored(&BIRTH, sk) {
        // SAFETY: the storage of a live socket, checked to be there.
        Some(birth) => unsafe { *birth },
        None => 0,
    }
}

/// Whether the current task is in the command's cgroup, or in one below it where the depth is known.
#[inline(always)]
pub(crate) fn is_of_the_command() -> bool {
    let Some(&agent) = AGENT.get(0) else { return false };
    // SAFETY: the helper takes nothing.
    if unsafe { bpf_get_current_cgroup_id() } == agent {
        return true;
    }
    match AGENT.get(1) {
        None | Some(0) => false,
        // SAFETY: the helper takes a number, and gives 0 where there is no such ancestor.
        Some(&level) => unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) == agent },
    }
}
