//! Any bytes as a source: UTF-8 of bounded length comes out, line ends stay, and what is UTF-8 is left alone.
#![no_main]

use std::borrow::Cow;

use codewm_core::decode::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let out = decode(data);
    let text = std::str::from_utf8(&out).expect("UTF-8");
    assert!(out.len() <= 3 * data.len());
    let marked = [
        &b"\xef\xbb\xbf"[..],
        b"\xff\xfe",
        b"\xfe\xff",
        b"\0\0\xfe\xff",
    ]
    .iter()
    .any(|m| data.starts_with(m));
    if !marked && !may_be_utf16(data) {
        // Encodings in which a line can be read before it is decoded: none hides or makes a line end.
        for end in [b'\n', b'\r'] {
            assert_eq!(count(data, end), count(&out, end));
        }
        if std::str::from_utf8(data).is_ok() {
            assert!(matches!(out, Cow::Borrowed(same) if same == data));
        }
    }
    // What comes out is a source in UTF-8, so it is left alone, unless the text itself begins with a mark or
    // with NULs.
    if !text.starts_with('\u{feff}') && !may_be_utf16(&out) {
        assert!(matches!(decode(&out), Cow::Borrowed(same) if same == &*out));
    }
});

/// Two of the first four bytes are NUL, in places where UTF-16 has them.
fn may_be_utf16(source: &[u8]) -> bool {
    matches!(source, [_, 0, _, 0, ..] | [0, _, 0, _, ..])
}

fn count(source: &[u8], byte: u8) -> usize {
    source.iter().filter(|&&b| b == byte).count()
}
