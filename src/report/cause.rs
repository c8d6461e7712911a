//! The cause that several hosts share: a reason without the parts that differ from host to host.
//!
//! Only the host's own address and names, as the plan has them, and fingerprints are replaced. Any other address may be something that
//! the host could not reach, and two of those are two causes.

use crate::model::plan::plan::PlanHost;
use crate::model::run::agenda::Agenda;
use crate::model::text::name::HostLabel;

/// Up to this many hosts get a line each when their reasons differ in their own addresses or names.
pub const FEW: usize = 3;

/// A text about a host, without its own address, names and fingerprints.
pub fn without_own(agenda: &Agenda, host: &HostLabel, text: &str) -> String {
    let own = agenda.host(host).into_iter().flat_map(own);
    let text = own.fold(text.to_owned(), |text, (word, instead)| replaced(&text, &word, instead));
    without_fingerprints(&text)
}

/// The longest first: an address with its port contains the address.
fn own(host: &PlanHost) -> [(String, &'static str); 5] {
    const ADDRESS: &str = "its address";
    let (address, port) = (host.endpoint.address.as_str(), host.endpoint.port);
    [
        (format!("[{address}]:{port}"), ADDRESS),
        (format!("{address}:{port}"), ADDRESS),
        (address.to_owned(), ADDRESS),
        (host.label.to_string(), "the host"),
        (host.name.to_string(), "the host"),
    ]
}

/// Replaces a whole word: not `192.0.2.1` in `192.0.2.11` or `192.0.2.1:22`.
fn replaced(text: &str, word: &str, instead: &str) -> String {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        let mut next = after.chars();
        let (first, second) = (next.next(), next.next());
        let goes_on =
            first.is_some_and(|c| part(c) || (matches!(c, '.' | ':') && second.is_some_and(char::is_alphanumeric)));
        let last = before.chars().next_back().or_else(|| out.chars().next_back());
        let alone = !goes_on && !last.is_some_and(|c| part(c) || matches!(c, '.' | ':'));
        out.push_str(before);
        out.push_str(if alone { instead } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Every host has its own key.
fn without_fingerprints(text: &str) -> String {
    const PREFIX: &str = "SHA256:";
    let mut parts = text.split(PREFIX);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(PREFIX);
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
        out.push_str(if rest.len() < part.len() { "…" } else { "" });
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::scripted::{host, plan};

    #[test]
    fn only_the_host_s_own_address_and_names_are_replaced() {
        let agenda = Agenda::of(&plan(&["web1", "web2"], &[]).into());
        for (text, without) in [
            (
                "cannot connect to 192.0.2.11:22: connection refused",
                "cannot connect to its address: connection refused",
            ),
            ("cannot connect to [192.0.2.11]:22", "cannot connect to its address"),
            ("cannot resolve 192.0.2.11: no answer", "cannot resolve its address: no answer"),
            ("no room in /srv/web1/x, says web1.", "no room in /srv/the host/x, says the host."),
            (
                "of web1: it offers ssh-ed25519 SHA256:ab+/9; SHA256: none",
                "of the host: it offers ssh-ed25519 SHA256:…; SHA256: none",
            ),
            // Other hosts, and longer words.
            ("cannot connect to 192.0.2.12:22", "cannot connect to 192.0.2.12:22"),
            (
                "192.0.2.11:2222 192.0.2.110 1192.0.2.11 192.0.2.11.5",
                "192.0.2.11:2222 192.0.2.110 1192.0.2.11 192.0.2.11.5",
            ),
            (
                "web1.example web10 xweb1 my-web1 web1_x mysite:web1",
                "web1.example web10 xweb1 my-web1 web1_x mysite:web1",
            ),
            ("web1web1 web1", "web1web1 the host"),
        ] {
            assert_eq!(without_own(&agenda, &host("web1"), text), without);
        }
        assert_eq!(without_own(&agenda, &host("other"), "web1 192.0.2.11"), "web1 192.0.2.11");
    }
}
