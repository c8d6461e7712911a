//! Files that name each other, directly or by others in between.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::named_paths;
use super::{is_test_file, module_of};

/// Which files each file names, but those below it: `a.rs` or `a/mod.rs` may open the room `a/` that it is the door of.
pub(super) fn uses(files: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let code = files.iter().filter(|(file, _)| !is_test_file(file));
    let modules: BTreeMap<Vec<String>, &str> = code
        .clone()
        .map(|(file, _)| (module_of(file), file.as_str()))
        .filter(|(module, _)| !module.is_empty())
        .collect();
    let used = |file: &str, text: &str| {
        let own = module_of(file);
        let file_of = |path: Vec<String>| (2..=path.len()).rev().find_map(|end| modules.get(&path[1..end]).copied());
        let paths = named_paths(text, &own).into_iter().map(|path| path.segments);
        paths
            .filter(|path| path[0] == "crate")
            .filter_map(file_of)
            .filter(|used| !module_of(used).starts_with(&own))
            .collect()
    };
    code.map(|(file, text)| (file.as_str(), used(file, text))).collect()
}

/// The files that can be reached from each other, group by group.
pub(super) fn circles<'a>(uses: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<Vec<&'a str>> {
    let reached = |from: &'a str| {
        let (mut found, mut new) = (BTreeSet::new(), vec![from]);
        while let Some(file) = new.pop() {
            new.extend(uses.get(file).into_iter().flatten().filter(|used| found.insert(**used)));
        }
        found
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> = uses.keys().map(|file| (*file, reached(file))).collect();
    let circle = |file: &&'a str| {
        let others = reach[*file].iter().filter(|other| reach.get(**other).is_some_and(|back| back.contains(*file)));
        others.copied().collect::<Vec<_>>()
    };
    uses.keys().map(circle).filter(|circle| circle.len() > 1).collect()
}
