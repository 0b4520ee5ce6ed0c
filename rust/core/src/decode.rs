//! Any bytes of a Python source in, the same source as UTF-8 out.
//!
//! | the source | is read as |
//! |---|---|
//! | begins with a byte order mark | what the mark says (UTF-8, UTF-16, UTF-32), without the mark |
//! | every other byte is NUL, as ASCII in UTF-16 has it | UTF-16 without a mark |
//! | is valid UTF-8 | itself, whatever it says about its encoding |
//! | names a known encoding by the rule of PEP 263 | that encoding; what is malformed in it becomes U+FFFD |
//! | anything else | UTF-8, in which each byte that does not belong is a character of Latin-1 |
//!
//! Valid UTF-8 comes before the declaration because text of another encoding that is valid UTF-8 by chance is
//! far rarer than a declaration that nobody changed when the file was converted. It follows that the 7-bit
//! encodings (ISO-2022-JP, HZ, UTF-7), whose every byte is ASCII, are never decoded.
//!
//! Line ends, NUL, form feeds and tabs stay as they are. Positions that later steps tell (bytes, lines) are those
//! of the decoded source.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF16_LE_MARK: &[u8] = b"\xff\xfe";
const UTF16_BE_MARK: &[u8] = b"\xfe\xff";
const UTF32_LE_MARK: &[u8] = b"\xff\xfe\0\0";
const UTF32_BE_MARK: &[u8] = b"\0\0\xfe\xff";

/// A source as UTF-8, at most three times as long; borrowed if it is UTF-8 already. See the module.
pub fn decode(source: &[u8]) -> Cow<'_, [u8]> {
    if let Some(rest) = source.strip_prefix(UTF8_MARK) {
        return if is_utf8(rest) {
            Cow::Borrowed(rest)
        } else {
            owned(stray_bytes(rest))
        };
    }
    if let Some(encoding) = unmarked_utf16(source) {
        return with(encoding, source);
    }
    if is_utf8(source) {
        return Cow::Borrowed(source);
    }
    if let Some(text) = marked(source) {
        return text;
    }
    match declared(source).map(known) {
        Some(Declared::Latin1) => owned(source.iter().map(|&b| char::from(b)).collect()),
        Some(Declared::Other(encoding)) => with(encoding, source),
        Some(Declared::Utf8OrUnknown) | None => owned(stray_bytes(source)),
    }
}

/// Nearly every source ends here, so this is vectorised for other scripts than ASCII too.
fn is_utf8(source: &[u8]) -> bool {
    Encoding::utf8_valid_up_to(source) == source.len()
}

fn owned<'s>(text: String) -> Cow<'s, [u8]> {
    Cow::Owned(text.into_bytes())
}

fn with<'s>(encoding: &'static Encoding, source: &'s [u8]) -> Cow<'s, [u8]> {
    let (text, _) = encoding.decode_without_bom_handling(source);
    owned(text.into_owned())
}

/// UTF-8 with bytes that do not belong; reading only these as Latin-1 leaves the rest of the text as it was in
/// the versions before and after.
fn stray_bytes(source: &[u8]) -> String {
    let mut text = String::with_capacity(source.len() + source.len() / 8);
    for chunk in source.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|&b| char::from(b)));
    }
    text
}

/// A source that begins with the mark of UTF-16 or UTF-32; none of these is valid UTF-8.
fn marked(source: &[u8]) -> Option<Cow<'_, [u8]>> {
    if let Some(rest) = source.strip_prefix(UTF32_LE_MARK) {
        // The same bytes are the mark of UTF-16 and a NUL.
        let (text, whole) = utf32(rest, u32::from_le_bytes);
        if whole {
            return Some(owned(text));
        }
    }
    if let Some(rest) = source.strip_prefix(UTF32_BE_MARK) {
        return Some(owned(utf32(rest, u32::from_be_bytes).0));
    }
    if let Some(rest) = source.strip_prefix(UTF16_LE_MARK) {
        return Some(with(UTF_16LE, rest));
    }
    let rest = source.strip_prefix(UTF16_BE_MARK)?;
    Some(with(UTF_16BE, rest))
}

/// The text, and whether all of it is well formed.
fn utf32(source: &[u8], number: fn([u8; 4]) -> u32) -> (String, bool) {
    let (units, left) = source.as_chunks::<4>();
    let mut whole = left.is_empty();
    let mut text = String::with_capacity(units.len());
    for &unit in units {
        let c = char::from_u32(number(unit));
        whole &= c.is_some();
        text.push(c.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if !left.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    (text, whole)
}

/// UTF-16 without a mark, where that is plain: it begins with two ASCII characters, more than half of all its
/// characters are ASCII, none is NUL. Such a source is valid UTF-8 as well, but then every other character of it
/// would be NUL, which no Python accepts.
fn unmarked_utf16(source: &[u8]) -> Option<&'static Encoding> {
    // The place of the high byte in a pair.
    let (encoding, high) = match source.first_chunk::<4>()? {
        [1..=255, 0, 1..=255, 0] => (UTF_16LE, 1),
        [0, 1..=255, 0, 1..=255] => (UTF_16BE, 0),
        _ => return None,
    };
    let (units, left) = source.as_chunks::<2>();
    let ascii = units
        .iter()
        .filter(|u| u[high] == 0 && u[1 - high].is_ascii())
        .count();
    let plain = left.is_empty() && ascii > units.len() / 2 && !units.contains(&[0, 0]);
    plain.then_some(encoding)
}

/// What the cookie of PEP 263 says.
enum Declared {
    /// ISO 8859-1 proper, as Python has it: the bytes 80 to 9f are the control characters of those numbers. The
    /// web reads them as windows-1252 instead; in Python source both stand only in strings and comments, and
    /// with the former different bytes stay different characters.
    Latin1,
    /// Another encoding that `encoding_rs` has.
    Other(&'static Encoding),
    /// UTF-8 or ASCII, which the source is not, or a name that says nothing.
    Utf8OrUnknown,
}

/// The encoding's name from line 1, or from line 2 if line 1 is blank or a comment.
fn declared(source: &[u8]) -> Option<&[u8]> {
    let (first, rest) = cut_line(source);
    match after_blanks(first).first() {
        None => cookie(cut_line(rest).0),
        Some(b'#') => cookie(first).or_else(|| cookie(cut_line(rest).0)),
        Some(_) => None,
    }
}

/// A line without its end (`\n`, `\r\n` or `\r`), and what follows.
fn cut_line(source: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = source.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
        return (source, &[]);
    };
    let (line, rest) = source.split_at(end);
    let rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    (line, rest)
}

/// A line without leading blanks as PEP 263 has them: space, tab, form feed.
fn after_blanks(line: &[u8]) -> &[u8] {
    let is_blank = |b: &&u8| matches!(b, b' ' | b'\t' | b'\x0c');
    &line[line.iter().take_while(is_blank).count()..]
}

/// `^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)`, the regular expression of PEP 263.
fn cookie(line: &[u8]) -> Option<&[u8]> {
    let comment = after_blanks(line).strip_prefix(b"#")?;
    let starts = comment
        .windows(b"coding:".len())
        .enumerate()
        .filter(|(_, w)| w.starts_with(b"coding") && matches!(w[6], b':' | b'='));
    starts
        .map(|(at, w)| {
            let rest = &comment[at + w.len()..];
            let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t'));
            let rest = &rest[blanks.count()..];
            let name = rest
                .iter()
                .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            &rest[..name.count()]
        })
        .find(|name| !name.is_empty())
}

/// The encoding behind a name of Python's codecs or one of their aliases.
///
/// Those with 7 or 16 bits to a character are not among them: a line in them cannot be read before it is decoded.
/// Of those missing in `encoding_rs` the multibyte ones stand with their nearest relative, because their bytes
/// may look like quotes and backslashes; single-byte ones (`cp437`) differ in the characters of strings only.
fn known(name: &[u8]) -> Declared {
    let lower = name.to_ascii_lowercase();
    // Emacs adds the line ends to the name.
    let stem = [&b"-unix"[..], b"-dos", b"-mac"]
        .iter()
        .find_map(|end| lower.strip_suffix(*end))
        .unwrap_or(&lower);
    let letters: Vec<u8> = stem
        .iter()
        .copied()
        .filter(u8::is_ascii_alphanumeric)
        .collect();
    Declared::Other(match letters.as_slice() {
        b"latin1" | b"latin" | b"l1" | b"iso88591" | b"iso885911987" | b"isolatin1"
        | b"isoir100" | b"8859" | b"88591" | b"cp819" | b"ibm819" | b"csisolatin1" => {
            return Declared::Latin1;
        }
        b"latin2" | b"l2" | b"iso88592" | b"iso885921987" | b"isoir101" | b"csisolatin2" => {
            encoding_rs::ISO_8859_2
        }
        b"latin3" | b"l3" | b"iso88593" | b"iso885931988" | b"isoir109" | b"csisolatin3" => {
            encoding_rs::ISO_8859_3
        }
        b"latin4" | b"l4" | b"iso88594" | b"iso885941988" | b"isoir110" | b"csisolatin4" => {
            encoding_rs::ISO_8859_4
        }
        b"cyrillic" | b"iso88595" | b"iso885951988" | b"isoir144" | b"csisolatincyrillic" => {
            encoding_rs::ISO_8859_5
        }
        b"arabic" | b"iso88596" | b"iso885961987" | b"isoir127" | b"ecma114" | b"asmo708"
        | b"csisolatinarabic" => encoding_rs::ISO_8859_6,
        b"greek" | b"greek8" | b"iso88597" | b"iso885971987" | b"isoir126" | b"ecma118"
        | b"elot928" | b"csisolatingreek" => encoding_rs::ISO_8859_7,
        b"hebrew" | b"iso88598" | b"iso885981988" | b"isoir138" | b"csisolatinhebrew"
        | b"iso88598i" | b"iso88598e" => encoding_rs::ISO_8859_8,
        b"latin5" | b"l5" | b"iso88599" | b"iso885991989" | b"isoir148" | b"csisolatin5"
        | b"cp1254" | b"windows1254" | b"1254" => encoding_rs::WINDOWS_1254,
        b"latin6" | b"l6" | b"iso885910" | b"iso8859101992" | b"isoir157" | b"csisolatin6" => {
            encoding_rs::ISO_8859_10
        }
        b"thai" | b"iso885911" | b"iso8859112001" | b"tis620" | b"tis6200" | b"tis62025290"
        | b"tis62025291" | b"isoir166" | b"cp874" | b"windows874" | b"874" => {
            encoding_rs::WINDOWS_874
        }
        b"latin7" | b"l7" | b"iso885913" => encoding_rs::ISO_8859_13,
        b"latin8" | b"l8" | b"iso885914" | b"iso8859141998" | b"isoir199" | b"isoceltic" => {
            encoding_rs::ISO_8859_14
        }
        b"latin9" | b"l9" | b"iso885915" => encoding_rs::ISO_8859_15,
        b"latin10" | b"l10" | b"iso885916" | b"iso8859162001" | b"isoir226" => {
            encoding_rs::ISO_8859_16
        }
        b"cp1250" | b"windows1250" | b"1250" => encoding_rs::WINDOWS_1250,
        b"cp1251" | b"windows1251" | b"1251" => encoding_rs::WINDOWS_1251,
        b"cp1252" | b"windows1252" | b"1252" => encoding_rs::WINDOWS_1252,
        b"cp1253" | b"windows1253" | b"1253" => encoding_rs::WINDOWS_1253,
        b"cp1255" | b"windows1255" | b"1255" => encoding_rs::WINDOWS_1255,
        b"cp1256" | b"windows1256" | b"1256" => encoding_rs::WINDOWS_1256,
        b"cp1257" | b"windows1257" | b"1257" => encoding_rs::WINDOWS_1257,
        b"cp1258" | b"windows1258" | b"1258" => encoding_rs::WINDOWS_1258,
        b"koi8r" | b"cskoi8r" => encoding_rs::KOI8_R,
        b"koi8u" => encoding_rs::KOI8_U,
        b"cp866" | b"866" | b"ibm866" | b"csibm866" => encoding_rs::IBM866,
        b"macroman" | b"macintosh" => encoding_rs::MACINTOSH,
        b"maccyrillic" => encoding_rs::X_MAC_CYRILLIC,
        b"gbk" | b"936" | b"cp936" | b"ms936" | b"gb2312" | b"gb23121980" | b"gb231280"
        | b"chinese" | b"csiso58gb231280" | b"euccn" | b"xmacsimpchinese" | b"eucgb2312cn"
        | b"isoir58" => encoding_rs::GBK,
        b"gb18030" | b"gb180302000" => encoding_rs::GB18030,
        b"big5" | b"big5tw" | b"csbig5" | b"big5hkscs" | b"hkscs" | b"xmactradchinese" | b"950"
        | b"cp950" | b"ms950" => encoding_rs::BIG5,
        b"eucjp" | b"ujis" | b"eucjis2004" | b"eucjisx0213" | b"jisx0213" => encoding_rs::EUC_JP,
        b"shiftjis" | b"sjis" | b"csshiftjis" | b"shiftjis2004" | b"sjis2004"
        | b"shiftjisx0213" | b"sjisx0213" | b"932" | b"cp932" | b"ms932" | b"mskanji"
        | b"xmacjapanese" | b"windows31j" => encoding_rs::SHIFT_JIS,
        b"euckr" | b"korean" | b"ksc5601" | b"ksc56011987" | b"ksx1001" | b"xmackorean"
        | b"949" | b"cp949" | b"ms949" | b"uhc" => encoding_rs::EUC_KR,
        _ => return Declared::Utf8OrUnknown,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(source: &[u8]) -> String {
        String::from_utf8(decode(source).into_owned()).expect("UTF-8 comes out")
    }

    fn is_borrowed(source: &[u8]) -> bool {
        matches!(decode(source), Cow::Borrowed(_))
    }

    #[test]
    fn utf8_stays_whatever_it_says() {
        for source in [
            "",
            "x = 1\n",
            "# coding: gbk\nx = 'é漢😀'\n",
            "# -*- coding: latin-1 -*-\nx = 'Ã©'\n",
            "a\r\nb\rc\0d\x0ce\t\u{85}\u{2028}\n",
            "# coding: utf-16\n",
        ] {
            assert_eq!(text(source.as_bytes()), source);
            assert!(is_borrowed(source.as_bytes()));
        }
        // A name that is not one of an encoding's is no error either.
        assert!(is_borrowed(b"# coding: nonsense\n"));
    }

    #[test]
    fn marks_are_dropped_and_believed() {
        let source = "x = 'é漢😀'\r\n";
        let utf16: Vec<u16> = source.encode_utf16().collect();
        let le16: Vec<u8> = utf16.iter().flat_map(|u| u.to_le_bytes()).collect();
        let be16: Vec<u8> = utf16.iter().flat_map(|u| u.to_be_bytes()).collect();
        let le32: Vec<u8> = source
            .chars()
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        let be32: Vec<u8> = source
            .chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect();
        for (mark, body) in [
            (UTF8_MARK, source.as_bytes()),
            (UTF16_LE_MARK, &le16),
            (UTF16_BE_MARK, &be16),
            (UTF32_LE_MARK, &le32),
            (UTF32_BE_MARK, &be32),
        ] {
            assert_eq!(text(&[mark, body].concat()), source);
        }
        assert!(is_borrowed(b"\xef\xbb\xbfx = 1\n"));
        assert_eq!(text(&le16), source);
        assert_eq!(text(&be16), source);
        for mark in [
            UTF8_MARK,
            UTF16_LE_MARK,
            UTF16_BE_MARK,
            UTF32_LE_MARK,
            UTF32_BE_MARK,
        ] {
            assert_eq!(text(mark), "");
        }
        // The mark of UTF-8 wins over the cookie, and one stray byte behind it is only that.
        let stray = b"\xef\xbb\xbf# coding: gbk\n'\xc3\xa9\xe9'\n";
        assert_eq!(text(stray), "# coding: gbk\n'éé'\n");
    }

    #[test]
    fn a_mark_of_utf16_before_nul_is_not_utf32() {
        assert_eq!(text(b"\xff\xfe\0\0a\0b\0"), "\0ab");
        assert_eq!(text(b"\xff\xfe\0\0a\0\0\0"), "a");
    }

    #[test]
    fn what_is_malformed_in_utf16_and_utf32_is_marked() {
        assert_eq!(text(b"\xff\xfea\0b"), "a\u{fffd}");
        assert_eq!(text(b"\xff\xfe\x00\xd8a\0"), "\u{fffd}a");
        assert_eq!(
            text(b"\0\0\xfe\xff\0\x11\0\0\0\0\0a\0"),
            "\u{fffd}a\u{fffd}"
        );
    }

    #[test]
    fn a_few_nuls_are_not_utf16() {
        for source in [
            &b"a\0b"[..],
            b"a\0",
            b"a\0b\0c",
            b"a\0b\0\0\0",
            b"x = '\0'\n",
            b"\0\0\0\0",
            b"a\0bcde",
            b"a\0b\0cdefgh",
        ] {
            assert!(is_borrowed(source), "{source:?}");
        }
        assert_eq!(text(b"a\0b\0"), "ab");
        assert_eq!(text(b"\0a\0b"), "ab");
    }

    #[test]
    fn the_cookie_decides_what_is_not_utf8() {
        for (source, expected) in [
            (&b"# coding: latin-1\n\xe9\x80\xc3\xa9"[..], "é\u{80}Ã©"),
            (b"# -*- coding: iso-8859-15 -*-\n\xa4", "€"),
            (b"# vim: set fileencoding=cp1252 :\n\x80", "€"),
            (b"#!/usr/bin/python\n# coding=koi8-r\n\xc1", "а"),
            (b"\n#coding:cp1251\n\xe0", "а"),
            (b"\x0c \t\r\n# coding:\tWindows_1251\r\n\xe0", "а"),
            (b"# x\r# coding: gbk\r\xba\xba", "汉"),
            (b"# coding: GB18030\n\x81\x30\x81\x30\xba\xba", "\u{80}汉"),
            (b"# coding: euc_jp\n\xb4\xc1", "漢"),
            (b"# coding: shift-jis\n'\x95\x5c'", "'表'"),
            (b"# coding: sjis-dos\n'\x95\x5c'", "'表'"),
            (b"# coding: big5\n'\xa5\x5c'", "'功'"),
            (b"# coding: cp949\n\xb0\xa1", "가"),
            (b"# coding: iso-latin-1-unix\n\xe9", "é"),
            (b"# coding: coding: koi8-r\n\xc1", "Á"),
            (b"# coding:, coding: koi8-r\n\xc1", "а"),
        ] {
            let got = text(source);
            let last = got.rsplit(['\n', '\r']).next();
            assert_eq!(last, Some(expected), "{}", source.escape_ascii());
        }
    }

    #[test]
    fn a_cookie_elsewhere_is_none() {
        for source in [
            &b"import x\n# coding: koi8-r\n\xc1"[..],
            b"\n\n# coding: koi8-r\n\xc1",
            b"x = 1 # coding: koi8-r\n\xc1",
            b"# coding koi8-r\n\xc1",
            b"# Coding: koi8-r\n\xc1",
            b"# coding : koi8-r\n\xc1",
            b"# coding: klingon\n# coding: koi8-r\n\xc1",
            b"# coding: utf-16\n\xc1",
            b"# coding: utf-8-sig\n\xc1",
            b"# coding: \n\xc1",
            b"# coding:",
            b"\xc1",
        ] {
            let expected = "Á".repeat(source.iter().filter(|&&b| b == 0xc1).count());
            let got = text(source);
            let high: String = got.chars().filter(|c| !c.is_ascii()).collect();
            assert_eq!(high, expected, "{}", source.escape_ascii());
        }
    }

    #[test]
    fn stray_bytes_leave_the_rest_alone() {
        assert_eq!(
            text(
                "'é漢' "
                    .as_bytes()
                    .iter()
                    .chain(b"\xe9\xff")
                    .copied()
                    .collect::<Vec<_>>()
                    .as_slice()
            ),
            "'é漢' éÿ"
        );
    }

    #[test]
    fn what_is_malformed_in_the_cookies_encoding_hides_no_ascii() {
        let got = text(b"# coding: shift_jis\nx = '\x95'\ny = '\x82\n\xff\n");
        assert_eq!(got.matches('\n').count(), 4);
        assert!(got.contains("'\u{fffd}'\ny = '\u{fffd}\n"));
    }

    const HEADS: &[&[u8]] = &[
        b"",
        UTF8_MARK,
        UTF16_LE_MARK,
        UTF16_BE_MARK,
        UTF32_LE_MARK,
        UTF32_BE_MARK,
        b"# coding: gbk\n",
        b"# coding: big5\n",
        b"# coding: sjis\n",
        b"# coding: latin1\n",
        b"# coding: gb18030\n",
        b"# coding: cp1258\n",
        b"# coding: euc-jp\n",
        b"a\0b\0",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_bytes_give_bounded_utf8(
            head in prop::sample::select(HEADS),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let source = [head, &body].concat();
            let out = decode(&source);
            prop_assert!(std::str::from_utf8(&out).is_ok());
            prop_assert!(out.len() <= 3 * source.len());
        }
    }
}
