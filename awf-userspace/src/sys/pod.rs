//! Plain old data out of bytes that the kernel wrote.

/// Copies a `T` out of `bytes`, which may be unaligned; `None` when the sizes differ.
#[must_use]
pub fn read<T: aya::Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: `T: Pod` makes every bit pattern a value, the length was checked, and the read is unaligned.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn sizes_must_agree() {
        assert_eq!(read::<u32>(&1_u32.to_ne_bytes()), Some(1));
        assert_eq!(read::<u32>(&[0; 5]), None);
        assert_eq!(read::<u32>(&[]), None);
    }
}
