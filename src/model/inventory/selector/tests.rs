use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::config::diagnostic::Source;
use crate::model::inventory::inventory_file::{Known, read_inventory};

fn inventory(sites: &[(&str, &[(&str, &str)])]) -> Inventory {
    let text = |hosts: &[(&str, &str)]| {
        let host = |(name, roles): &(&str, &str)| {
            let roles: Vec<_> = roles.split_whitespace().map(|role| format!("'{role}'")).collect();
            format!("[[host]]\nname = '{name}'\nroles = [{}]\n", roles.join(","))
        };
        hosts.iter().map(host).collect::<String>()
    };
    let sites: Vec<_> = sites
        .iter()
        .map(|(site, hosts)| {
            let source = Source { path: format!("hosts/{site}.toml"), text: text(hosts) };
            ((*site).to_owned(), Arc::new(source))
        })
        .collect();
    read_inventory(None, &sites, Known::default())
}

fn shops() -> Inventory {
    inventory(&[
        ("mysite", &[("web2", "web"), ("web1", "web canary"), ("db", "db")]),
        ("mysite-test", &[("test1", "web db")]),
        ("shop", &[("web[01-03]", "web"), ("db01", "db")]),
    ])
}

fn told(targets: Result<Targets, SelectorError>) -> String {
    match targets {
        Ok(targets) => targets.hosts().map(|(site, host)| format!("{site}:{host}")).collect::<Vec<_>>().join(" "),
        Err(error) => refused(&error),
    }
}

fn resolve(text: &str) -> String {
    told(Selector::parse(text).and_then(|selector| selector.resolve(&shops(), None)))
}

fn restricted(targets: &str, limit: &str, exclude: &str) -> String {
    let inventory = shops();
    let targets = Selector::parse(targets).unwrap().resolve(&inventory, None).unwrap();
    let read = |text: &str| (!text.is_empty()).then(|| Selector::parse(text).unwrap());
    told(restrict(&targets, &inventory, read(limit).as_ref(), read(exclude).as_ref()))
}

#[test]
fn hosts_come_in_the_order_of_the_inventory() {
    assert_eq!(resolve("mysite"), "mysite:web2 mysite:web1 mysite:db");
    assert_eq!(resolve("shop:db,mysite:web"), "mysite:web2 mysite:web1 shop:db01");
    assert_eq!(resolve("mysite*:db"), "mysite:db mysite-test:test1");
    assert_eq!(resolve("all:db*"), "mysite:db mysite-test:test1 shop:db01");
    assert_eq!(resolve(" mysite , ! mysite : web1 "), "mysite:web2 mysite:db");
    assert_eq!(resolve("!mysite,all,!shop"), "mysite-test:test1");
    assert_eq!(resolve("{mysite,shop}:web*1"), "mysite:web1 shop:web01");
}

#[test]
fn ranges_name_hosts() {
    assert_eq!(resolve("shop:web[01-02]"), "shop:web01 shop:web02");
    assert_eq!(resolve("shop:web[02:03]"), "shop:web02 shop:web03");
    assert_eq!(resolve("shop:web0[!1]"), "shop:web02 shop:web03");
    assert_eq!(resolve("shop:*b[01-02]"), "shop:web01 shop:web02 shop:db01");
}

#[test]
fn a_term_without_a_match_is_an_error_with_the_nearest_name() {
    insta::assert_snapshot!(resolve("mysit"), @"
    no site matches `mysit`
    hint: did you mean `mysite`?
    ");
    insta::assert_snapshot!(resolve("mysite,nowhere"), @"no site matches `nowhere`");
    insta::assert_snapshot!(resolve("mysite:web3"), @"
    no host or role of `mysite` matches `web3`
    hint: did you mean `web`?
    ");
    insta::assert_snapshot!(resolve("mysite,!mysite:wbe1"), @"
    no host or role of `mysite` matches `wbe1`
    hint: did you mean `web1`?
    ");
    insta::assert_snapshot!(resolve("shop:web[01-30]"), @"no host or role of `shop` matches `web04`, a part of `web[01-30]`");
    insta::assert_snapshot!(resolve("zzz*"), @"no site matches `zzz*`");
    insta::assert_snapshot!(resolve("web01"), @"
    no site matches `web01`
    hint: did you mean `shop:web01`?
    ");
}

#[test]
fn what_is_no_selector_is_refused() {
    insta::assert_snapshot!(resolve(""), @"the selector is empty");
    insta::assert_snapshot!(resolve("mysite,,shop"), @"`mysite,,shop` has an empty term");
    insta::assert_snapshot!(resolve("mysite:"), @"`mysite:` is neither `SITE` nor `SITE:HOST`");
    insta::assert_snapshot!(resolve("a:b:c"), @"`a:b:c` is neither `SITE` nor `SITE:HOST`");
    insta::assert_snapshot!(resolve("!mysite"), @"
    `!mysite` only takes away
    hint: `all,!mysite`
    ");
    insta::assert_snapshot!(resolve("mysite,!all"), @"`mysite,!all` leaves no host");
    insta::assert_snapshot!(resolve("shop:web[3-1]"), @"range `[3-1]` ends before it starts");
    insta::assert_snapshot!(resolve("shop:web[1-999999999]"), @"`web[1-999999999]` stands for 999999999 names; at most 100000 are possible here");
    insta::assert_snapshot!(resolve("shop:*[1-9999]"), @"`*[1-9999]` stands for 9999 names; at most 1000 are possible here");
    insta::assert_snapshot!(resolve("shop:web[a"), @"`web[a` is no glob: unclosed character class; missing ']'");
}

#[test]
fn limits_name_hosts_roles_or_sites_among_the_targets() {
    assert_eq!(restricted("mysite", "web", ""), "mysite:web2 mysite:web1");
    assert_eq!(restricted("mysite", "web1,db", ""), "mysite:web1 mysite:db");
    assert_eq!(restricted("all", "shop", "web"), "shop:db01");
    assert_eq!(restricted("all", "shop:web*", "shop:web02"), "shop:web01 shop:web03");
    assert_eq!(restricted("mysite", "!web1", ""), "mysite:web2 mysite:db");
    assert_eq!(restricted("mysite", "", "web*,!web1"), "mysite:web1 mysite:db");
    // One list of hosts to leave alone may serve all sites.
    assert_eq!(restricted("mysite", "", "shop:web01,web1"), "mysite:web2 mysite:db");
    insta::assert_snapshot!(restricted("mysite", "web01", ""), @"
    no targeted host, role or site matches `web01`
    hint: did you mean `web1`?
    ");
    insta::assert_snapshot!(restricted("mysite", "", "web9"), @"
    no host, role or site matches `web9`
    hint: did you mean `web`?
    ");
    insta::assert_snapshot!(restricted("mysite", "", "mysite"), @"`mysite` leaves no host");
    insta::assert_snapshot!(restricted("mysite", "db", "db"), @"`db without db` leaves no host");
    insta::assert_snapshot!(restricted("mysite", "", "!web1"), @"
    `!web1` only takes away
    hint: `all,!web1`
    ");
}

fn refused(error: &SelectorError) -> String {
    error.hints().iter().fold(error.to_string(), |told, hint| format!("{told}\nhint: {hint}"))
}

fn hosts_of(text: &str) -> Option<BTreeSet<(String, String)>> {
    let targets = Selector::parse(text).ok()?.resolve(&shops(), None).ok()?;
    Some(targets.hosts().map(|(site, host)| (site.to_string(), host.to_string())).collect())
}

fn term() -> impl Strategy<Value = String> {
    let site = prop::sample::select(vec!["mysite", "mysite-test", "shop", "my*", "all", "*", "s?op", "nowhere"]);
    let host =
        prop::sample::select(vec!["", ":web", ":db", ":web*", ":web1", ":web[01-02]", ":*[12]", ":canary", ":zzz"]);
    (site, host).prop_map(|(site, host)| format!("{site}{host}"))
}

proptest! {
    #[test]
    fn resolving_never_invents_or_repeats_a_host(text in prop::collection::vec(("!?", term()), 1..5)) {
        let text: Vec<_> = text.into_iter().map(|(not, term)| not + &term).collect();
        let inventory = shops();
        if let Ok(targets) = Selector::parse(&text.join(",")).unwrap().resolve(&inventory, None) {
            prop_assert!(targets.hosts().next().is_some());
            prop_assert!(targets.sites().iter().all(|(_, hosts)| !hosts.is_empty()));
            let all: Vec<_> = targets.hosts().collect();
            let distinct: BTreeSet<_> = all.iter().collect();
            prop_assert_eq!(distinct.len(), all.len());
            for (site, host) in all {
                prop_assert!(inventory.sites.get(site).is_some_and(|site| site.hosts.iter().any(|of| of.name == *host)));
            }
        }
    }

    #[test]
    fn what_is_taken_away_is_never_there(terms in prop::collection::vec(term(), 1..4), away in term()) {
        let away_hosts = hosts_of(&away);
        let text = terms.join(",");
        let left = hosts_of(&format!("{text},!{away}"));
        prop_assert_eq!(left.clone(), hosts_of(&format!("!{away},{text}")), "wherever it stands");
        if let (Some(left), Some(away)) = (left, away_hosts) {
            prop_assert!(left.is_disjoint(&away));
        }
    }

    #[test]
    fn a_list_is_the_union_of_its_terms(a in term(), b in term()) {
        let both = hosts_of(&format!("{a},{b}"));
        prop_assert_eq!(both.clone(), hosts_of(&format!("{b},{a}")));
        // A list in which one term matches nothing is refused as a whole.
        let union = hosts_of(&a).zip(hosts_of(&b)).map(|(a, b)| a.union(&b).cloned().collect());
        prop_assert_eq!(both, union);
    }

    #[test]
    fn restricting_never_grows(targets in term(), limit in term(), exclude in term()) {
        let inventory = shops();
        let parse = |text: &str| Selector::parse(text).unwrap();
        if let Ok(targets) = parse(&targets).resolve(&inventory, None) {
            let all: BTreeSet<_> = targets.hosts().collect();
            for (limit, exclude) in [(Some(&limit), None), (None, Some(&exclude)), (Some(&limit), Some(&exclude))] {
                let limit = limit.map(|text| parse(text));
                let exclude = exclude.map(|text| parse(text));
                if let Ok(restricted) = restrict(&targets, &inventory, limit.as_ref(), exclude.as_ref()) {
                    prop_assert!(restricted.hosts().all(|host| all.contains(&host)));
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_selector_or_refused(text in "[a-z0-9!:,*?\\[\\]{}\\\\. -]{0,30}|.{0,30}") {
        if let Ok(selector) = Selector::parse(&text) {
            let _ = selector.resolve(&shops(), None);
        }
    }
}
