//! Events as the kernel program writes them, and bytes that it does not write.

use super::*;

/// An event of nobody, with texts; `all` bytes are said to be the arguments'.
fn bytes(path: &[u8], args: &[u8], all: usize) -> Vec<u8> {
    let mut bytes = vec![0; size_of::<Event>()];
    bytes.extend([path.len(), args.len()].map(|len| u32::try_from(len).unwrap().to_ne_bytes()).concat());
    bytes.extend((all as u64).to_ne_bytes());
    [&bytes, path, args].concat()
}

fn said(path: &[u8], args: &[u8], all: usize) -> (Option<String>, Option<Vec<String>>) {
    let said = decode(&bytes(path, args, all)).unwrap().1.unwrap();
    (said.path, said.argv)
}

fn texts(texts: &[&str]) -> Option<Vec<String>> {
    Some(texts.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn what_was_said_is_what_was_executed() {
    assert_eq!(said(b"/bin/ls\0", b"ls\0-l\0\0", 7), (Some("/bin/ls".into()), texts(&["ls", "-l", ""])));
    assert_eq!(said(b"", b"", 0), (None, None));
    assert_eq!(said(b"\0", b"\0", 1), (None, None));
    assert_eq!(said(b"/\xff\0", b"\xff\0", 2), (Some("/\u{fffd}".into()), texts(&["\u{fffd}"])));
    let (event, said) = decode(&vec![0; size_of::<Event>()]).unwrap();
    assert_eq!((event.origin.tgid, said), (0, None));
}

#[test]
fn what_was_cut_says_so() {
    let args = [b"a\0".as_slice(), &[b'x'; Image::ARGS - 2]].concat();
    let long = format!("{}{CUT}", "x".repeat(Image::ARGS - 2));
    assert_eq!(said(b"", &args, 2 << 20).1, texts(&["a", &long]));
    // Cut by their number already.
    let many = said(b"", &[0; Image::ARGS], 5000).1.unwrap();
    assert_eq!((many.len(), many.last().unwrap().as_str()), (257, CUT));
    let path = [[b'p'; Image::PATH - 1].as_slice(), b"\0"].concat();
    assert!(said(&path, b"", 0).0.unwrap().ends_with(CUT));
    assert!(!said(&path[1..], b"", 0).0.unwrap().ends_with(CUT));
}

#[test]
fn bytes_of_another_size_are_no_event() {
    let whole = bytes(b"/bin/ls\0", b"ls\0", 3);
    for len in (0..whole.len()).filter(|len| *len != size_of::<Event>()) {
        assert!(decode(&whole[..len]).is_none(), "{len}");
    }
    assert!(decode(&[whole, vec![0]].concat()).is_none());
}
