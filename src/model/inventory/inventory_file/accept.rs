//! `[accept]`: the blocks that a site's steps may report, each with the reason: `"pr_person.initials" = "moved by fix 003"`.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::config::document::{Item, Table};
use crate::model::config::setting::{Setting, Spanned};
use crate::model::text::name::FindingName;
use crate::model::text::printable::printable;

pub(super) fn read_accept(table: &Table<'_>) -> BTreeMap<FindingName, Setting<String>> {
    let mut accept = BTreeMap::new();
    for item in table.items() {
        if item.is_table() {
            refuse_unquoted(&item, item.key);
            continue;
        }
        let Some(name) = item.parsed_key(item.key, FindingName::parse) else { continue };
        if let Some(reason) = item.parsed(reason) {
            accept.insert(name, table.setting(Spanned { value: reason.value, span: item.key_span }));
        }
    }
    accept
}

/// TOML reads `a.b = "…"` as a table `a` with a key `b`.
fn refuse_unquoted(item: &Item<'_>, name: &str) {
    let inner = item.table().map(|table| table.items()).unwrap_or_default();
    if inner.is_empty() {
        item.expected::<()>("a reason");
    }
    for inner in inner {
        let name = format!("{name}.{}", inner.key);
        if inner.is_table() {
            refuse_unquoted(&inner, &name);
            continue;
        }
        let message = format!("`{name}` is a name with dots, which TOML reads as tables without quotes");
        let label = format!("write \"{name}\" = \"…\" in `[accept]`");
        inner.document.tell(whole_key(&inner), message, label);
    }
}

/// All of a dotted key, where it begins its line; else the last part.
fn whole_key(item: &Item<'_>) -> Range<usize> {
    let Range { start, end } = item.key_span.clone();
    let before = item.document.source.text.get(..start).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
    let start = if line.contains(['=', '{', ',']) { start } else { start - line.len() };
    start..end
}

/// One line that says why.
fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a reason must not be empty: say why this block may pass".to_owned());
    }
    if printable(text.as_bytes()) != text {
        return Err("a reason is one line of text".to_owned());
    }
    Ok(text.trim().to_owned())
}
