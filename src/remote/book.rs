//! A site's book, in the words of the scripts: what they are told of it, and what they tell.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::scripts::assign;
use crate::model::plan::book::{Book, Effect, EffectChange, Proof};
use crate::model::recipe::shell::quote;
use crate::model::text::name::{FindingName, RunId, StepName, VarName};

impl Book {
    /// What the scripts get of it.
    pub fn assignments(&self) -> String {
        assign([
            ("site", self.site.as_str()),
            ("lock", self.folder.as_deref().unwrap_or_default()),
            ("login", self.login.as_str()),
            ("lost", if self.lost { "yes" } else { "" }),
        ])
    }
}

impl EffectChange {
    /// What the scripts get of it.
    pub fn assignments(&self) -> String {
        let words = self.begin.iter().flat_map(|effect| [quote(effect.name.as_str()), quote(&effect.words)]);
        let names: Vec<&str> = self.strike.iter().map(StepName::as_str).collect();
        assign([("effects", words.collect::<Vec<_>>().join(" ")), ("strike", names.join(" "))])
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The step that left it, and the words.
    pub effect: Effect,
    pub run: String,
}

impl InForce {
    /// Reads `NAME RUN WORDS`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let name = StepName::parse(words.next()?).ok()?;
        let run = words.next().unwrap_or_default().to_owned();
        let said = words.next().filter(|words| !words.is_empty()).unwrap_or(name.as_str()).to_owned();
        Some(Self { effect: Effect { words: said, name }, run })
    }

    /// In words: `closed for visitors (maintenance-on, run 20261122-084512-7f3a19c4)`.
    pub fn describe(&self) -> String {
        let Self { effect: Effect { name, words }, run } = self;
        format!("{words} ({name}, run {run})")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostProof {
    Proven(Proof),
    /// The run of this number had proven something, and was taken up again since.
    Withdrawn(u64),
}

impl HostProof {
    /// Reads `NOW SEQUENCE RUN VARIABLE THEN BY [NAME=VALUE ...] [:BLOCK=COUNT ...]`, times in seconds of the host's clock.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let now: Option<u64> = words.next()?.parse().ok();
        let sequence = words.next()?.parse().ok()?;
        let run = RunId::parse(words.next()?).ok()?;
        let name = words.next()?;
        if name == "-" {
            return Some(Self::Withdrawn(sequence));
        }
        let then: Option<u64> = words.next().and_then(|then| then.parse().ok());
        let age = now.zip(then).and_then(|(now, then)| now.checked_sub(then)).map(Duration::from_secs);
        let by = words.next().unwrap_or_default().to_owned();
        let (mut also, mut accepted) = (BTreeMap::new(), BTreeMap::new());
        for word in words {
            let (name, value) = word.rsplit_once('=')?;
            if let Some(block) = name.strip_prefix(':') {
                accepted.insert(FindingName::parse(block).ok()?, value.parse().ok()?);
            } else {
                also.insert(VarName::parse(name).ok()?, decoded(value)?);
            }
        }
        let name = VarName::parse(name).ok()?;
        Some(Self::Proven(Proof { name, value: String::new(), also, accepted, run, sequence, by, age }))
    }

    /// The proof that counts, of all that the hosts of a site say: that of the greatest number. One that any host knows to be withdrawn does not
    /// count, and neither does an older one: the site was left since with something else than it proved.
    pub fn newest(proofs: impl IntoIterator<Item = Self>) -> Option<Proof> {
        let (mut found, mut withdrawn) = (Vec::new(), 0);
        for proof in proofs {
            match proof {
                Self::Proven(proof) => found.push(proof),
                Self::Withdrawn(sequence) => withdrawn = withdrawn.max(sequence),
            }
        }
        found.into_iter().max_by_key(|proof| proof.sequence).filter(|proof| proof.sequence > withdrawn)
    }
}

/// The further variables of a proof, and the blocks that were accepted, in a line of the book. An older fleet takes them for a part of who it was.
pub fn words_of_others(proof: &Proof) -> String {
    let words = proof.also.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    let accepted = proof.accepted.iter().map(|(name, count)| format!(":{name}={count}"));
    words.chain(accepted).collect::<Vec<_>>().join(" ")
}

fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => text.push(byte.into()),
            _ => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => u8::from_str_radix(std::str::from_utf8(&[rest.next()?, rest.next()?]).ok()?, 16).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proven(line: &str) -> HostProof {
        HostProof::parse(line).unwrap()
    }

    #[test]
    fn the_greatest_number_counts_whatever_the_clocks_say() {
        let ahead = proven("100 3 20991231-000000-00000000 revision 90 ann@desk");
        let later = proven("100 4 20260101-000000-00000000 revision 95 bob@desk");
        let newest = HostProof::newest([later, ahead]).unwrap();
        assert_eq!((newest.sequence, newest.by.as_str(), newest.age), (4, "bob@desk", Some(Duration::from_secs(5))));
    }

    #[test]
    fn what_one_host_knows_to_be_withdrawn_does_not_count() {
        let away = proven("100 4 20260101-000000-00000000 revision 95 bob@desk");
        let withdrawn = proven("100 4 20260101-000000-00000000 -");
        assert_eq!(HostProof::newest([away, withdrawn.clone()]), None);
        let older = proven("100 3 20251231-000000-00000000 revision 90 bob@desk");
        assert_eq!(HostProof::newest([older, withdrawn.clone()]), None);
        let later = proven("100 5 20260102-000000-00000000 revision 96 bob@desk");
        assert_eq!(HostProof::newest([withdrawn, later]).unwrap().sequence, 5);
    }

    #[test]
    fn a_proof_may_have_several_values_and_one_of_an_older_fleet_has_one() {
        let old = proven("100 3 20251231-000000-00000000 revision 90 ann@desk");
        let HostProof::Proven(mut proof) = old else { panic!() };
        assert_eq!((proof.by.as_str(), proof.also.len()), ("ann@desk", 0));
        let name = |name: &str| VarName::parse(name).unwrap();
        proof.also.insert(name("fixes"), "a b\n%=\u{e4}".to_owned());
        proof.also.insert(name("schema"), "9c1f".to_owned());
        proof.accepted.insert(FindingName::parse("pr_person.initials").unwrap(), 12);
        let words = words_of_others(&proof);
        assert_eq!(words, "fixes=a%20b%0A%25%3D%C3%A4 schema=9c1f :pr_person.initials=12");
        let line = format!("100 3 20251231-000000-00000000 revision 90 ann@desk {words}");
        assert_eq!(proven(&line), HostProof::Proven(proof));
        assert_eq!(HostProof::parse(&line.replace("%0A", "%0")), None, "damaged");
    }

    #[test]
    fn a_clock_that_went_back_gives_no_age() {
        let HostProof::Proven(proof) = proven("50 1 20260101-000000-00000000 revision 90 ann@desk") else { panic!() };
        assert_eq!(proof.age, None);
    }
}
