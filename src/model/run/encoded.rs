//! The forms in which a secret value may stand in output: as it is, quoted by a shell, in base64, URL-encoded, in JSON.
//!
//! Whatever prints a secret wants it used, so it prints what the next program reads: `set -x` quotes it, a client puts it into a URL, a
//! debug log into JSON, an `Authorization` header into base64. What changes the value on purpose (`rev`, a hash) is not found.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::text::secret::MIN_LENGTH;

/// Characters that encoders of URLs leave as they are, besides letters, digits and `-._~`: by RFC 3986 none, in a path, as
/// `encodeURIComponent` and as `encodeURI` do it.
const URL_SAFE: [&str; 4] = ["", "/", "!*'()", ";,/?:@&=+$!*'()#"];

/// All forms of a value: of each of its lines that is long enough, and in base64 of the whole too.
pub fn forms(value: &str) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    let lines = value.lines().map(str::trim).filter(|line| line.chars().count() >= MIN_LENGTH);
    for line in lines {
        let texts = [line.to_owned()]
            .into_iter()
            .chain(quoted(line))
            .chain(in_json(line))
            .chain(in_url(line))
            .chain(escaped(line));
        all.extend(texts.map(String::into_bytes));
        all.extend(in_base64(line.as_bytes()));
    }
    all.extend(in_base64(value.as_bytes()));
    all
}

/// Within single quotes as bash and `quote` write it, and as dash does; within double quotes; with backslashes, as `printf %q`.
fn quoted(line: &str) -> [String; 4] {
    let escape = |is_special: fn(char) -> bool| {
        line.chars().fold(String::new(), |mut text, c| {
            text.extend(is_special(c).then_some('\\'));
            text.push(c);
            text
        })
    };
    let plain = |c: char| c.is_alphanumeric() || "_@%+:./-=".contains(c);
    [
        line.replace('\'', r"'\''"),
        line.replace('\'', r#"'"'"'"#),
        escape(|c| "\"$`\\".contains(c)),
        line.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\{c}") }).collect(),
    ]
}

/// As shells, Python and C write what is not ASCII: in octal, in hex, as Latin-1; and as HTML.
fn escaped(line: &str) -> [String; 5] {
    let bytes = |write: fn(u8) -> String, quote: &str| {
        line.bytes().fold(String::new(), |mut text, byte| {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'\'' => text.push_str(quote),
                byte if byte.is_ascii_graphic() || byte == b' ' => text.push(byte.into()),
                byte => text.push_str(&write(byte)),
            }
            text
        })
    };
    let octal: fn(u8) -> String = |byte| format!("\\{byte:03o}");
    let latin = line.chars().fold(String::new(), |text, c| match u32::from(c) {
        0x5c => text + "\\\\",
        code @ 0x80..=0xff => format!("{text}\\x{code:02x}"),
        _ => format!("{text}{c}"),
    });
    let html = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")];
    let html = html.iter().fold(line.to_owned(), |text, (c, code)| text.replace(*c, code));
    [bytes(octal, "\\'"), bytes(octal, "'"), bytes(|byte| format!("\\x{byte:02x}"), "\\'"), latin, html]
}

/// As a string of JSON: with the escapes that it needs, also with `\/`, and with each character that is not ASCII as a code, such as `\u00e4`.
fn in_json(line: &str) -> Vec<String> {
    let needed = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\t' => "\\t".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        c if c.is_control() && c.is_ascii() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    let plain: String = line.chars().map(needed).collect();
    let ascii = |upper: bool| -> String {
        let code = |unit: &u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        let escaped = |c: char| match c {
            c if c.is_ascii() => c.to_string(),
            c => c.encode_utf16(&mut [0; 2]).iter().map(code).collect(),
        };
        plain.chars().map(escaped).collect()
    };
    // As Go writes it, and others who put JSON into HTML.
    let html = |text: String| {
        [('&', "\\u0026"), ('<', "\\u003c"), ('>', "\\u003e")]
            .iter()
            .fold(text, |text, (c, code)| text.replace(*c, code))
    };
    let all = [plain.clone(), ascii(false), ascii(true), html(plain.clone())];
    all.iter().flat_map(|text| [text.clone(), text.replace('/', "\\/")]).collect()
}

/// Percent-encoded by the various rules, in both cases of the digits, and with `+` for a blank.
fn in_url(line: &str) -> Vec<String> {
    let encoded = |safe: &str, upper: bool| -> String {
        let byte = |byte: u8| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) || (c.is_ascii() && safe.contains(c)) => c.to_string(),
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        line.bytes().map(byte).collect()
    };
    let all = URL_SAFE.iter().flat_map(|safe| [encoded(safe, true), encoded(safe, false)]);
    all.flat_map(|text| [text.replace("%20", "+"), text]).collect()
}

/// In base64, after any number of other bytes: the digits that depend on nothing but the value, for each of the three alignments, in both
/// alphabets.
fn in_base64(value: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..3).flat_map(move |before| {
        let digits = STANDARD.encode([[0; 2].get(..before).unwrap_or_default(), value].concat());
        // Six bits a digit: those that begin within the value, and end there.
        let (from, to) = ((8 * before).div_ceil(6), 8 * (before + value.len()) / 6);
        let own = digits.get(from..to).unwrap_or_default().to_owned();
        let other = own.replace('+', "-").replace('/', "_");
        // Encoders end a line anywhere, and a masker needs the first digits of a form on one.
        let cut =
            |digits: String| (0..4).filter_map(move |from| digits.get(from..).map(|rest| rest.as_bytes().to_vec()));
        cut(own).chain(cut(other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(value: &str, form: &str) -> bool {
        forms(value).iter().any(|known| form.contains(std::str::from_utf8(known).unwrap()))
    }

    #[test]
    fn a_value_is_known_in_each_form() {
        let value = "p'a \"$ß/ö\\+";
        for form in [
            "p'a \"$ß/ö\\+",
            r#"PW='p'\''a "$ß/ö\+'"#,
            r#"PW='p'"'"'a "$ß/ö\+'"#,
            r#"PW="p'a \"\$ß/ö\\+""#,
            r#"PW=p\'a\ \"\$ß/ö\\+"#,
            r#"{"pw":"p'a \"$ß/ö\\+"}"#,
            r#"{"pw":"p'a \"$ß\/ö\\+"}"#,
            r#"{"pw":"p'a \"$\u00df/\u00f6\\+"}"#,
            r#"{"pw":"p'a \"$\u00DF\/\u00F6\\+"}"#,
            "https://x/?pw=p%27a%20%22%24%C3%9F%2F%C3%B6%5C%2B",
            "https://x/?pw=p%27a+%22%24%c3%9f%2f%c3%b6%5c%2b",
            "https://x/p%27a%20%22%24%C3%9F/%C3%B6%5C%2B",
            "encodeURIComponent p'a%20%22%24%C3%9F%2F%C3%B6%5C%2B",
        ] {
            assert!(has(value, form), "{form}");
        }
    }

    #[test]
    fn base64_is_known_at_each_alignment_and_in_both_alphabets() {
        for value in ["hunter2-hunter3", "sécret~~~???", "abcdef"] {
            for before in ["", "u", "us", "usr", "user:"] {
                for after in ["", "\n", "ab"] {
                    let digits = STANDARD.encode(format!("{before}{value}{after}"));
                    assert!(has(value, &digits), "{before}{value}{after}");
                    assert!(has(value, &digits.replace('+', "-").replace('/', "_")), "{before}{value}{after}");
                }
            }
        }
    }

    #[test]
    fn each_line_that_is_long_enough_is_known_and_the_whole_in_base64() {
        let value = "-----BEGIN KEY-----\nc2VjcmV0\nab\n-----END KEY-----";
        for form in ["-----BEGIN KEY-----", "c2VjcmV0", "\"-----BEGIN KEY-----\\nc2VjcmV0\\n", &STANDARD.encode(value)]
        {
            assert!(has(value, form), "{form}");
        }
        assert!(!has(value, "ab"));
    }
}
