use proptest::prelude::*;

use super::*;

fn accept(names: &[(&str, &str)]) -> BTreeMap<FindingName, String> {
    names.iter().map(|(name, reason)| (FindingName::parse(name).unwrap(), (*reason).to_owned())).collect()
}

fn told(report: &str) -> Vec<String> {
    read(report.as_bytes(), &accept(&[("known", "it is old")])).iter().map(Finding::to_string).collect()
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
        let found = read(line.as_bytes(), &accept(&[]));
        assert_eq!((found.len(), found[0].kind), (1, FindingKind::Warning), "{line}");
        assert!(!found[0].text.contains('\u{1b}'), "{line}");
        assert_eq!(refusal(&found), None, "{line}");
    }
    for line in
        ["block", "block known", "block known text", "BLOCK known -- text", "block kn\u{1b}own -- text", "blocked"]
    {
        let found = read(line.as_bytes(), &accept(&[("known", "it is old")]));
        assert!(found.len() == 1 && refusal(&found).is_some(), "{line}");
    }
    let raw = read(b"block known -- \xff", &accept(&[("known", "it is old")]));
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
        let found = read(report.as_bytes(), &accept(&[]));
        assert_eq!(found.len(), findings);
        assert!(refusal(&found).unwrap().contains("not") && found.last().unwrap().refuses());
    }
    assert_eq!(refusal(&read(line.repeat(MAX_FINDINGS).as_bytes(), &accept(&[]))), None);
}

#[test]
fn only_a_block_of_that_name_is_accepted() {
    let accepted = accept(&[("a", "moved to b")]);
    let read = |report: &str| read(report.as_bytes(), &accepted);
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
        let found = read(&report, &accept(&[]));
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
