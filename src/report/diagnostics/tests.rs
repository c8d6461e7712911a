use std::sync::Arc;

use super::*;
use crate::model::inventory_file::{Known, read_inventory};

fn source(path: &str, text: &str) -> Arc<Source> {
    Arc::new(Source { path: path.to_owned(), text: text.to_owned() })
}

#[test]
fn show() {
    let defaults =
        source("hosts/defaults.toml", "stage = 'test'\n[ssh]\nusr = 'x'\nport = 70000\n[[host]]\nname='x'\n");
    let a = source(
        "hosts/a.toml",
        "recipe = \"edn\"\nfollows = \"b\"\nstage = \"prod\"\n\n[rollout]\nbatches = [0, \"200%\"]\nsoak = \"1x\"\n\n[[host]]\nname = \"web[1-3]\"\naddress = \"10.0.0.1\"\nroles = [\"web\", 3]\nadress = \"x\"\n\n[[host]]\nname=\"db\"\n\n[[host]]\nname = \"db\"\n[vars]\na = [1]\nb = 0o644\n",
    );
    let b = source("hosts/b.toml", "follows = 'a'\nname = \nx y\n[[host]]\nname = 'a'\nfoo = 1\n");
    let e = source("hosts/all.toml", "");
    let errors = read_inventory(
        Some(&defaults),
        &[("a".into(), a), ("b".into(), b), ("all".into(), e)],
        Known { recipes: Some(&["eden", "git-site"]), ..Known::default() },
    )
    .unwrap_err();
    println!("{}", render(&errors, false, 100));
}
