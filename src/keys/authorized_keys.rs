//! `authorized_keys` as sshd reads it: is our key there, and if not, which bytes make it so.
//!
//! Pure. Invariant: what is decided only ever appends, and the key appended stands on a line of its own.
//!
//! Our key behind options (`from=`, `command=`, `restrict`, …) counts as there. sshd obeys the first line that fits, so a second,
//! free line would be dead behind a `command=`, and behind a `from=` it would lift what somebody restricted on purpose. Whether the
//! line is good enough shows in the login that proves the key. Rejected: judging the options here; sshd's versions differ in them,
//! and it drops the whole line for one that it does not know. A line marked `cert-authority` is not our key: sshd takes it for
//! certificates only, and goes on to the next line.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ssh::key::PublicKeyLine;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// As lenient as sshd's own reader.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    AlreadyThere {
        /// On which line, from 1.
        line: usize,
        options: Option<String>,
    },
    /// This goes to the end of the file: a newline first if its last line has none.
    Append(String),
}

/// What sshd will make of a file, and of our key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    pub decision: Decision,
    /// It starts with a byte order mark, so sshd cannot read the key on its first line. Nothing is repaired: the bytes are not ours.
    pub byte_order_mark: bool,
}

/// Decides what it takes for `key` to be in a file with the content `content`.
pub fn review(content: &[u8], key: &PublicKeyLine) -> Review {
    let there = content.split(|&b| b == b'\n').enumerate().find_map(|(index, line)| {
        let options = find_key(line, key)?;
        Some(Decision::AlreadyThere { line: index + 1, options: (!options.is_empty()).then_some(options) })
    });
    let decision = there.unwrap_or_else(|| {
        let newline = if content.last().is_some_and(|&last| last != b'\n') { "\n" } else { "" };
        Decision::Append(format!("{newline}{key}\n"))
    });
    Review { decision, byte_order_mark: content.starts_with(BYTE_ORDER_MARK) }
}

/// The options before our key, if the line has it; none are the empty text.
fn find_key(line: &[u8], key: &PublicKeyLine) -> Option<String> {
    // sshd reads a line as a C string.
    let line = line.split(|&b| b == 0).next().unwrap_or_default();
    let line = trim_blanks(line);
    if line.first() == Some(&b'#') {
        return None;
    }
    if starts_with_key(line, key) {
        return Some(String::new());
    }
    let (options, rest) = line.split_at_checked(options_length(line))?;
    if !starts_with_key(trim_blanks(rest), key) {
        return None;
    }
    let options = String::from_utf8_lossy(options).into_owned();
    let for_certificates = options.split(',').any(|option| option.eq_ignore_ascii_case("cert-authority"));
    (!for_certificates).then_some(options)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

/// OpenSSH's `sshkey_advance_past_options`: up to the first blank outside double quotes, in which `\"` is a quote.
fn options_length(line: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    line.iter()
        .position(|&b| {
            match b {
                b'"' if !escaped => quoted = !quoted,
                b if is_blank(b) && !quoted => return true,
                _ => {}
            }
            escaped = b == b'\\';
            false
        })
        .unwrap_or(line.len())
}

fn starts_with_key(line: &[u8], key: &PublicKeyLine) -> bool {
    let mut words = line.split(|&b| is_blank(b)).filter(|word| !word.is_empty());
    let (Some(key_type), Some(data)) = (words.next(), words.next()) else { return false };
    // A carriage return at the line's end is no harm to sshd.
    let data = data.strip_suffix(b"\r").unwrap_or(data);
    key_type == key.key_type().as_bytes() && BASE64.decode(data).is_ok_and(|data| data == key.data())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE";
    const THEIRS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn ours() -> PublicKeyLine {
        PublicKeyLine::parse(&format!("{OURS} fleet")).unwrap()
    }

    fn decide(content: impl AsRef<[u8]>) -> Decision {
        review(content.as_ref(), &ours()).decision
    }

    fn there(line: usize, options: Option<&str>) -> Decision {
        Decision::AlreadyThere { line, options: options.map(str::to_owned) }
    }

    fn append(before: &str) -> Decision {
        Decision::Append(format!("{before}{OURS} fleet\n"))
    }

    #[test]
    fn a_missing_final_newline_is_put_before_our_line() {
        assert_eq!(decide(""), append(""));
        assert_eq!(decide(format!("{THEIRS} a\n")), append(""));
        assert_eq!(decide(format!("{THEIRS} a")), append("\n"));
        assert_eq!(decide(format!("{THEIRS} a\r\n")), append(""));
        assert_eq!(decide(b"\xff\xfes\0s\0h\0\n\0"), append("\n"));
    }

    #[test]
    fn the_key_data_counts_and_not_the_comment() {
        assert_eq!(decide(format!("# x\n\n{THEIRS} fleet\n {OURS} another comment")), there(4, None));
        assert_eq!(decide(format!("\t{}\r\n", OURS.replace(' ', " \t"))), there(1, None));
        assert_eq!(decide(format!("#{OURS}\n")), append(""));
        assert_eq!(decide(format!("{THEIRS} {OURS}\n")), append(""));
        // A glued line, as a careless append makes it: sshd reads the first key only.
        assert_eq!(decide(format!("{THEIRS}{OURS}\n")), append(""));
        assert_eq!(decide(OURS.replace("ssh-ed25519", "ssh-rsa")), append("\n"));
        assert_eq!(decide(format!("{THEIRS}\0{OURS}\n")), append(""));
    }

    #[test]
    fn options_count_as_there_and_are_told() {
        assert_eq!(decide(format!("restrict,pty {OURS}\n")), there(1, Some("restrict,pty")));
        let quoted = r#"command="echo \"a b\" ssh-ed25519 AAAA",from="10.0.0.0/8""#;
        assert_eq!(decide(format!("{quoted}\t{OURS} c\n")), there(1, Some(quoted)));
        // To OpenSSH the second of two backslashes escapes the quote.
        assert_eq!(decide(format!(r#"environment="A=\\" {OURS}"#)), append("\n"));
        assert_eq!(decide(format!("command=\"never closed {OURS}\n")), append(""));
        assert_eq!(decide(format!("cert-authority {OURS}\n")), append(""));
        assert_eq!(decide(format!("cert-authority {OURS}\n{OURS}\n")), there(2, None));
    }

    #[test]
    fn a_byte_order_mark_hides_the_first_line_only() {
        let hidden = review(format!("\u{feff}{OURS}\n").as_bytes(), &ours());
        assert!(hidden.byte_order_mark);
        assert_eq!(hidden.decision, append(""));
        assert_eq!(decide(format!("\u{feff}{THEIRS}\n{OURS}\n")), there(2, None));
    }

    proptest! {
        /// Whatever was in the file, after the append the key is there, on the last line, and the next time nothing is done.
        #[test]
        fn an_append_is_idempotent(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Decision::Append(addition) = decide(&content) {
                let after = [content, addition.into_bytes()].concat();
                let last = after.split(|&b| b == b'\n').count() - 1;
                prop_assert_eq!(decide(&after), there(last, None));
            }
        }
    }
}
