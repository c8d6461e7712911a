use proptest::prelude::*;

use super::*;

fn accept(names: &[(&str, &str)]) -> BTreeMap<FindingName, String> {
    names.iter().map(|(name, reason)| (FindingName::parse(name).unwrap(), (*reason).to_owned())).collect()
}

/// A report as it was, of whatever length.
fn whole(report: &[u8], accept: &BTreeMap<FindingName, String>) -> Vec<Finding> {
    read((report.get(..MAX_BYTES).unwrap_or(report), report.len() <= MAX_BYTES), accept)
}

fn told(report: &str) -> Vec<String> {
    whole(report.as_bytes(), &accept(&[("known", "it is old")])).iter().map(Finding::to_string).collect()
}

#[test]
fn lines_are_read_and_blank_ones_are_none() {
    let report = "notice - -- all is well\n\nwarning disk.room free=3% on=/srv -- little room\r\n  block pr_person.initials values=3 -- data -- lost  \nblock known -- again";
    insta::assert_snapshot!(told(report).join("\n"), @r"
    notice: all is well
    warning disk.room free=3% on=/srv: little room
    block pr_person.initials values=3: data -- lost
    block known, accepted (it is old): again
    ");
}

#[test]
fn what_does_not_read_is_told_and_never_harmless_when_it_was_a_block() {
    for line in [
        "hello",
        "notice",
        "notice x",
        "notice x text",
        "notice x --",
        "notice x -- ",
        "Notice x -- text",
        "notice x y -- text",
        "notice x =y -- text",
        "notice x y=1 y=2 -- text",
        "notice x values=many -- text",
        "notice -x -- text",
        "\u{1b}[2Jnotice x -- text",
    ] {
        let found = whole(format!("{line}\n").as_bytes(), &accept(&[]));
        assert_eq!((found.len(), found[0].kind), (1, FindingKind::Warning), "{line}");
        let cut = whole(line.as_bytes(), &accept(&[]));
        assert!(refusal(&cut).is_some(), "its end may be missing, as on a full disk: {line}");
        assert!(!found[0].text.contains('\u{1b}'), "{line}");
        assert_eq!(refusal(&found), None, "{line}");
    }
    for line in
        ["block", "block known", "block known text", "BLOCK known -- text", "block kn\u{1b}own -- text", "blocked"]
    {
        let found = whole(line.as_bytes(), &accept(&[("known", "it is old")]));
        assert!(found.len() == 1 && refusal(&found).is_some(), "{line}");
    }
    let raw = whole(b"block known -- \xff", &accept(&[("known", "it is old")]));
    assert!(raw[0].refuses() && raw[0].text.ends_with("block known -- \\xff"), "{raw:?}");
}

#[test]
fn a_report_that_was_not_read_whole_refuses() {
    let line = "notice x -- 0123456789\n";
    for (report, findings) in [
        (String::new(), 1),
        (line.repeat(MAX_FINDINGS + 1), MAX_FINDINGS + 1),
        (format!("notice x -- {}\n", "y".repeat(MAX_BYTES)), 2),
    ] {
        let found = whole(report.as_bytes(), &accept(&[]));
        assert_eq!(found.len(), findings);
        assert!(refusal(&found).unwrap().contains("not") && found.last().unwrap().refuses());
    }
    assert_eq!(refusal(&whole(line.repeat(MAX_FINDINGS).as_bytes(), &accept(&[]))), None);
}

#[test]
fn only_a_block_of_that_name_is_accepted() {
    let accepted = accept(&[("a", "moved to b")]);
    let read = |report: &str| whole(report.as_bytes(), &accepted);
    assert_eq!(refusal(&read("block a -- x")), None);
    assert_eq!(refusal(&read("block - -- x")), Some("x".to_owned()));
    assert_eq!(refusal(&read("block a -- x\nblock b -- y")), Some("b: y".to_owned()));
    assert_eq!(refusal(&read("block b -- y\nblock c -- z\nblock d -- z")), Some("b: y (and 2 more blocks)".to_owned()));
    assert_eq!(read("warning a -- x")[0].accepted, None);
    assert!(refusal(&read(&format!("block b -- {}", "y".repeat(300)))).unwrap().ends_with("yyy…"));
}

proptest! {
    #[test]
    fn any_bytes_read_and_no_line_is_lost(report in prop::collection::vec(any::<u8>(), 0..300)) {
        let found = whole(&report, &accept(&[]));
        let lines = report.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        prop_assert_eq!(found.len(), if report.is_empty() { 1 } else { lines });
        for finding in found {
            let told = finding.to_string();
            prop_assert!(!told.contains(['\n', '\u{1b}']), "{}", told);
            let json = serde_json::to_string(&finding).unwrap();
            prop_assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), finding);
        }
    }
}

#[test]
fn what_masking_makes_shorter_was_not_read_whole_all_the_same() {
    let found = read((b"notice x -- ***\n", false), &accept(&[]));
    assert!(refusal(&found).unwrap().contains("more than 64 KiB"), "{found:?}");
}

#[test]
fn a_block_in_parts_is_limited_as_a_whole() {
    let (name, site) = (FindingName::parse("known").unwrap(), SiteName::parse("test").unwrap());
    let proven = BTreeMap::from([(name, 5)]);
    let mut found = whole(
        b"block known values=3 -- a\nblock known values=2 -- b\nblock known values=1 -- c\n",
        &accept(&[("known", "old")]),
    );
    let mut before = BTreeMap::new();
    for finding in &mut found {
        finding.limit(&mut before, &proven, &site);
    }
    assert_eq!(found.iter().map(Finding::refuses).collect::<Vec<_>>(), [false, false, true]);
    assert!(found[2].text.ends_with("c (accepted on test: 5)"), "{found:?}");
}
