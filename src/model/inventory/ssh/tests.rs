use super::*;
use crate::model::plan::planner::Overrides;

#[test]
fn what_the_command_line_sets_is_over_all_files_and_reads_as_it_was_written() {
    let written = r#"{"user":null,"identity":"k","connect-timeout":null,"connect-retry":{"secs":0,"nanos":0},"reconnect-timeout":null,
        "vars":{},"parallel":null,"serial":null,"max-fail":null,"timeout":null,"steps":{"start-at":null,"only":[],"skip":[]}}"#;
    let overrides: Overrides = serde_json::from_str(written).unwrap();
    let set = &overrides.ssh;
    assert_eq!(
        serde_json::to_string(set).unwrap(),
        r#"{"user":null,"identity":"k","connect-timeout":null,"connect-retry":{"secs":0,"nanos":0},"reconnect-timeout":null}"#
    );
    assert!(serde_json::from_str::<Overrides>(&written.replace("\"vars\"", "\"x\":1,\"vars\"")).is_err());
    let file = SshValues { connect_retry: Some(Duration::from_secs(9)), port: Some(24), ..SshValues::default() };
    let endpoint = overrides.ssh.over(file).endpoint(Address::parse("h").unwrap(), &UserName::parse("me").unwrap());
    assert_eq!((endpoint.connect_retry, endpoint.port, endpoint.user.as_str()), (Duration::ZERO, 24, "me"));
    assert_eq!(endpoint.identity.as_deref(), Some("k"));
    assert_eq!(endpoint.connect_timeout, Duration::from_secs(10));
}

#[test]
fn each_setting_is_in_the_documentation() {
    let page = include_str!("../../../../docs/connecting.md");
    let (name, user) = (String::from("x"), UserName::parse("x").unwrap());
    let own = SshSettings {
        identity: Some(Setting::default_of(name)),
        user: Some(Setting::default_of(user)),
        ..SshSettings::default()
    };
    let settings = SshSettings::defaults().over(&own);
    for (key, ..) in settings.shown() {
        assert!(page.contains(&format!("\n| `{key}` |")), "docs/connecting.md says nothing of `{key}`");
    }
}
