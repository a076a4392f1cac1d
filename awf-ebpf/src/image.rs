//! sched_process_exec, on kernels that let a program be named from its stack (5.17): tells by what path it was
//! executed and with which arguments, for those that are gone before anybody can look at /proc. The kernel has just
//! built that stack (`exec_binprm`, fs/exec.c), and no instruction of the program has run.

use core::{ffi::c_void, hint, mem::MaybeUninit, ptr, slice};

use awf_common::{
    Addr, Event, EventKind, Image, Refusal,
    event::{Counter, ImageBuffer},
    stack::{self, Walk},
};
use aya_ebpf::{
    helpers::generated::{
        bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_loop, bpf_probe_read_user,
        bpf_probe_read_user_str, bpf_task_pt_regs,
    },
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};

use crate::{
    emit,
    maps::{self, EVENTS, IMAGE, count},
};

/// Where the stack pointer is in `struct pt_regs`, which is ABI (arch/*/include/uapi/asm/ptrace.h).
const STACK_POINTER: usize = if cfg!(bpf_target_arch = "aarch64") { 248 } else { 152 };

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn exec_image(_ctx: RawTracePointContext) -> u32 {
    if maps::is_of_the_command()
        && let Some(buffer) = IMAGE.get_ptr_mut(0)
    {
        // SAFETY: the map hands out this CPU's slot, of that size. A program that runs is not run on its CPU again.
        let length = unsafe { fill(buffer) };
        // SAFETY: `fill` gives no more than the size of the slot.
        let event = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length) };
        if EVENTS.output_untyped::<[u8]>(event, 0).is_err() {
            count(Counter::EventsLost);
        }
    }
    0
}

/// Puts together what is told of the current process; how many bytes of `buffer` that is.
///
/// # Safety
///
/// `buffer` must be writable.
#[inline(always)]
unsafe fn fill(buffer: *mut ImageBuffer) -> usize {
    // SAFETY: the helper takes nothing and reads a clock.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    // Two words side by side that are known to be 0 would be cleared by a loop of bytes, which the verifier walks.
    let origin = emit::origin(Addr::LOOPBACK4, 0, 4, hint::black_box(0), 0);
    let (kind, refusal) = (EventKind::Exec as u32, Refusal::None as u32);
    // SAFETY: the caller promises that the buffer is writable; `path` is at most `Image::PATH`, so that
    // `Image::ARGS` bytes are left behind it.
    unsafe {
        let image = &raw mut (*buffer).image;
        (&raw mut (*image).event).write(Event { origin, time, kind, refusal, protocol: 0, socket_type: 0 });
        let found = texts(&raw mut (*buffer).walk);
        let texts = (&raw mut (*buffer).texts).cast::<u8>();
        let path = read_path(texts, found.path);
        let args = read_args(texts.add(path as usize), &found);
        (&raw mut (*image).path).write(path);
        (&raw mut (*image).args).write(args);
        (&raw mut (*image).all_args).write(found.args);
        size_of::<Image>() + path as usize + args as usize
    }
}

/// Where the texts are in the process's memory; 0: not known.
struct Texts {
    path: u64,
    first: u64,
    args: u64,
}

/// # Safety
///
/// `walk` must be that of [`IMAGE`]'s slot.
#[inline(always)]
unsafe fn texts(walk: *mut Walk) -> Texts {
    const UNKNOWN: Texts = Texts { path: 0, first: 0, args: 0 };
    // SAFETY: the kernel checks that both are pointers to its own types, and reads of them cannot fault.
    let sp = unsafe {
        let registers = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const u8;
        ptr::read_volatile(registers.add(STACK_POINTER).cast::<u64>())
    };
    let Some([argc, first]) = read_pair(sp) else { return UNKNOWN };
    let Some(environment) = stack::environment(sp, argc) else { return UNKNOWN };
    let Some([first_of_environment, _]) = read_pair(environment) else { return UNKNOWN };
    // In the map: of what is on the stack kernels before 6.8 believe that a callback leaves it as it is.
    // SAFETY: the caller's promise; the helper calls `step` and nothing else.
    let path = unsafe {
        walk.write(Walk::from(environment));
        bpf_loop(stack::PAIRS, step as *mut c_void, ptr::null_mut(), 0);
        (&raw const (*walk).path).read_volatile()
    };
    Texts { path, first, args: stack::args(first, first_of_environment, path) }
}

/// Whether the walk is over: 1 ends it.
extern "C" fn step(_index: u64, _context: *mut c_void) -> u64 {
    let Some(buffer) = IMAGE.get_ptr_mut(0) else { return 1 };
    // SAFETY: this CPU's slot, which nobody else uses meanwhile.
    let walk = unsafe { &mut (*buffer).walk };
    read_pair(walk.at).is_none_or(|pair| walk.step(pair)).into()
}

/// The two words at `at` of the process's memory.
#[inline(always)]
fn read_pair(at: u64) -> Option<[u64; 2]> {
    let mut pair = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: the helper fills `pair`, with zeroes when it fails; it takes any address.
    unsafe {
        let failed =
            bpf_probe_read_user(pair.as_mut_ptr().cast(), size_of_val(&pair) as u32, at as *const c_void);
        if failed == 0 { Some(pair.assume_init()) } else { None }
    }
}

/// # Safety
///
/// `Image::PATH` bytes at `to` must be writable.
#[inline(always)]
unsafe fn read_path(to: *mut u8, from: u64) -> u32 {
    if from == 0 {
        return 0;
    }
    // SAFETY: the caller's promise; the helper takes any address.
    let length = unsafe { bpf_probe_read_user_str(to.cast(), Image::PATH as u32, from as *const c_void) };
    if length < 0 || length > Image::PATH as i64 { 0 } else { length as u32 }
}

/// # Safety
///
/// `Image::ARGS` bytes at `to` must be writable.
#[inline(always)]
unsafe fn read_args(to: *mut u8, texts: &Texts) -> u32 {
    let length = if texts.args > Image::ARGS as u64 { Image::ARGS as u64 } else { texts.args };
    // SAFETY: the caller's promise; the helper takes any address.
    let failed = unsafe { bpf_probe_read_user(to.cast(), length as u32, texts.first as *const c_void) };
    if failed == 0 { length as u32 } else { 0 }
}
