use super::*;

#[test]
fn a_site_accepts_blocks_by_their_names_with_a_reason() {
    let text = "[accept]\n\"pr_person.initials\" = \" moved by fix 003 \"\nplain = 'x'\n[[host]]\nname = \"web1\"\n";
    let inventory = read(&[("shop", text)]).unwrap();
    let accept = &inventory.sites.get("shop").unwrap().accept;
    let name = FindingName::parse("pr_person.initials").unwrap();
    assert_eq!(accept.get(&name), Some(&at("hosts/shop.toml", 2, "moved by fix 003".to_owned())));
    assert_eq!(accept.len(), 2);
}

#[test]
fn what_accept_does_not_take_is_told_at_its_place() {
    let text = "[accept]\npr_person.initials = \"moved\"\npr_person.a.b = \"moved\"\n\"empty\" = \" \"\n\"lines\" = \"a\\nb\"\n\"number\" = 3\n\
                \"b c\" = \"x\"\nnone = {}\n[accept.table]\nx = \"y\"\n[[host]]\nname = \"web1\"\n";
    insta::assert_snapshot!(told(&[("shop", text)]), @r#"
    shop:2:1: `pr_person.initials` is a name with dots, which TOML reads as tables without quotes [write "pr_person.initials" = "…" in `[accept]`]
    shop:3:1: `pr_person.a.b` is a name with dots, which TOML reads as tables without quotes [write "pr_person.a.b" = "…" in `[accept]`]
    shop:4:11: a reason must not be empty: say why this block may pass
    shop:5:11: a reason is one line of text
    shop:6:12: `number` must be a string, not an integer
    shop:7:1: name of a finding `b c` holds ' '; allowed are letters, digits and ._:/-
    shop:8:8: `none` must be a reason, not a table
    shop:10:1: `table.x` is a name with dots, which TOML reads as tables without quotes [write "table.x" = "…" in `[accept]`]
    "#);
    let defaults = told(&[("defaults", "[accept]\na = \"b\"\n"), ("shop", "[[host]]\nname = \"web1\"\n")]);
    assert_eq!(defaults, "defaults:1:2: `accept` belongs in the file of a site, not in the defaults of all");
}
