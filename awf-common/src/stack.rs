//! The stack that the kernel builds for a new program of 64 bits (`create_elf_tables`, fs/binfmt_elf.c): the number of
//! arguments, their addresses, 0, the addresses of the environment's strings, 0, and the auxiliary vector, a pair of
//! words an entry. The strings themselves lie above in one piece: arguments, environment, and the path of the
//! program as execve(2) was given it (`AT_EXECFN`).

/// Entry of the auxiliary vector that ends it.
const AT_NULL: u64 = 0;
/// Entry with the address of the path that was executed (include/uapi/linux/auxvec.h).
const AT_EXECFN: u64 = 31;
/// More bytes of arguments, and more arguments, than the kernel takes: 3/4 of `_STK_LIM` (fs/exec.c).
const LIMIT: u64 = 8 << 20;
/// Most pairs of words that are looked at: 32,000 strings of environment. Twenty nanoseconds each.
pub const PAIRS: u32 = 16_384;

/// Where the environment's addresses begin, for a stack pointer and the word it points to. `None`: that word is no
/// number of arguments. In a program of 32 bits it is that number and an address at once, which is far beyond.
#[inline(always)]
#[must_use]
pub const fn environment(sp: u64, argc: u64) -> Option<u64> {
    if argc == 0 || argc > LIMIT {
        return None;
    }
    Some(sp.wrapping_add((argc + 2) * 8))
}

/// A walk from the environment's addresses to `AT_EXECFN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Walk {
    /// The address of the path that was executed; 0 until it is found.
    pub path: u64,
    /// The address of the pair of words that is looked at next. Between the two that begin as 0: side by side they
    /// would be cleared by a loop of bytes, which the verifier walks.
    pub at: u64,
    in_auxv: u64,
}

impl Walk {
    #[inline(always)]
    #[must_use]
    pub const fn from(environment: u64) -> Self {
        Self { path: 0, at: environment, in_auxv: 0 }
    }

    /// Goes on by the pair of words at [`Walk::at`]; whether the walk is over.
    #[inline(always)]
    #[must_use]
    pub const fn step(&mut self, [first, second]: [u64; 2]) -> bool {
        if self.in_auxv != 0 {
            if first == AT_EXECFN {
                self.path = second;
            }
            self.at = self.at.wrapping_add(16);
            return first == AT_EXECFN || first == AT_NULL;
        }
        // The 0 behind the environment's addresses may be either of the two.
        self.in_auxv = (first == 0 || second == 0) as u64;
        self.at = self.at.wrapping_add(if first == 0 { 8 } else { 16 });
        false
    }
}

/// How many bytes the arguments take: from the first one's address to that of the first string of the environment
/// or, without one, of the path.
#[inline(always)]
#[must_use]
pub const fn args(first: u64, environment: u64, path: u64) -> u64 {
    let end = if environment == 0 { path } else { environment };
    if first == 0 || end <= first || end - first > LIMIT {
        return 0;
    }
    end - first
}
