use super::*;

fn context_after(text: &str) -> Context {
    let mut scanner = Scanner::default();
    scanner.read(text);
    scanner.context()
}

#[test]
fn quoting_is_left_off_only_where_a_shell_changes_nothing() {
    assert_eq!(quote(""), "''");
    assert_eq!(quote("/srv/my-site_1.2"), "/srv/my-site_1.2");
    assert_eq!(quote("~"), "'~'");
    assert_eq!(quote("A=b"), "'A=b'");
    assert_eq!(quote("a,b"), "'a,b'");
    assert_eq!(quote("a\nb"), "'a\nb'");
    assert_eq!(quote("done"), "'done'");
}

#[test]
fn beside_other_text_of_a_word_a_value_is_always_quoted() {
    assert_eq!(quote_beside(Some('/'), "a", Some(' ')), "a");
    assert_eq!(quote_beside(Some('E'), "a", None), "'a'", "$HOME would change its name");
    assert_eq!(quote_beside(Some(' '), "2", Some('>')), "'2'", "it would be a file descriptor");
    assert_eq!(quote_beside(Some('~'), "root", None), "'root'", "it would be a home folder");
}

#[test]
fn context_is_known_at_every_place_where_a_value_may_stand() {
    let cases = [
        ("cd ", Context::Plain),
        ("echo '", Context::SingleQuotes),
        ("echo 'it'", Context::Plain),
        ("echo \"", Context::DoubleQuotes),
        ("echo \"a\\\"", Context::DoubleQuotes),
        ("echo \"$(cat ", Context::Plain),
        ("echo \"$(cat x)", Context::DoubleQuotes),
        ("echo \"$(cat \"", Context::DoubleQuotes),
        ("echo \"${x:-", Context::Expansion),
        ("echo \"${x:-${y}}", Context::DoubleQuotes),
        ("echo \"${x:-$(cat ", Context::Plain),
        ("echo \"${x:-\"a", Context::Ambiguous),
        ("echo `", Context::Backquotes),
        ("echo `'", Context::Backquotes),
        ("# don't ", Context::Comment),
        ("# don't\ncd ", Context::Plain),
        ("echo a#b ", Context::Plain),
        ("echo ${#x} ", Context::Plain),
        ("cat <<EOF\n", Context::HereDocument),
        ("cat <<EOF >", Context::Plain),
        ("cat <<-'EOF' | sort\na\n\tEOF\ncd ", Context::Plain),
        ("cat <<EOF\n$(date \"+%F\") \"it's\nEOF\ncd ", Context::Plain),
        ("cat <<EOF\nEOF \n", Context::HereDocument),
        ("cat <<< a\ncd ", Context::Plain),
        ("cat << ", Context::Ambiguous),
        ("echo $'", Context::Ambiguous),
        ("echo \\", Context::Ambiguous),
        ("echo $(case a in a) \"", Context::Ambiguous),
        ("case $1 in a) cd ", Context::Plain),
        ("(cd ", Context::Plain),
        ("echo $((1 << 2)) ", Context::Plain),
        ("ls [ab] ", Context::Plain),
    ];
    for (text, expected) in cases {
        assert_eq!(context_after(text), expected, "after {text:?}");
    }
}

/// Each of these let a value run as a command once.
#[test]
fn places_that_only_look_plain_are_refused() {
    let cases = [
        ("echo $", Context::Expansion),
        ("echo \\$", Context::Plain),
        ("echo \"\\$(", Context::DoubleQuotes),
        ("echo \"$$(", Context::DoubleQuotes),
        ("echo $(( ", Context::Expansion),
        ("echo $((1) | cat) ", Context::Ambiguous),
        ("(( ", Context::Ambiguous),
        ("a[", Context::Expansion),
        ("echo $[", Context::Expansion),
        ("echo ${x:-", Context::Expansion),
        ("echo ${x:-a #} '", Context::SingleQuotes),
        ("echo a\\\n#'\n", Context::SingleQuotes),
        ("echo a\\ #'\n", Context::SingleQuotes),
        ("echo a\r#'\n", Context::Ambiguous),
        ("cat <<\"E F\"\nE\n", Context::Ambiguous),
        ("cat <<$x\n$x\n", Context::Ambiguous),
        ("cat <<EOF\na\\\nEOF\n", Context::Ambiguous),
        ("cat <<EOF\n$(echo\nEOF\n", Context::Ambiguous),
        ("cat <<EOF $(a\n", Context::Ambiguous),
        ("echo \"${x:-$(echo })\" ", Context::Ambiguous),
    ];
    for (text, expected) in cases {
        assert_eq!(context_after(text), expected, "after {text:?}");
    }
}
