//! The table `[secrets]`: where the values of secret variables come from.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::config::document::{Item, Table};
use crate::model::config::setting::{Setting, Spanned};
use crate::model::inventory::inventory::SecretSource;
use crate::model::recipe::recipe::settable;
use crate::model::text::name::VarName;

/// How long a command may take, when the file does not say.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the sources; `[secrets.backup] key = { file = "..." }` is that of `backup.key`.
pub(super) fn read_sources(table: &Table<'_>) -> BTreeMap<VarName, Setting<SecretSource>> {
    let mut found: BTreeMap<VarName, Spanned<SecretSource>> = BTreeMap::new();
    let mut open: Vec<(String, Item<'_>)> = table.items().into_iter().map(|item| (item.key.to_owned(), item)).collect();
    open.reverse();
    while let Some((name, item)) = open.pop() {
        if !item.is_table() {
            let label = format!("write `{name} = {{ exec = \"...\" }}` or `{name} = {{ file = \"...\" }}`");
            item.tell_key(format!("`{name}`: the value of a secret has no place in a site's file"), label);
            continue;
        }
        let Some(inner) = item.table() else { continue };
        let items = inner.items();
        if !items.is_empty() && items.iter().all(Item::is_table) {
            open.extend(items.into_iter().rev().map(|item| (format!("{name}.{}", item.key), item)));
            continue;
        }
        let source = read_source(&inner, &item);
        let (Some(name), Some(source)) = (item.parsed_key(&name, settable), source) else { continue };
        if let Some(first) = found.get(&name) {
            table.document.report_again(item.key_span, &first.span, format!("secret `{name}` is set twice"));
        } else {
            found.insert(name, Spanned { value: source, span: item.key_span });
        }
    }
    found.into_iter().map(|(name, source)| (name, table.setting(source))).collect()
}

fn read_source(table: &Table<'_>, item: &Item<'_>) -> Option<SecretSource> {
    let not_empty = |text: &str| match text.trim() {
        "" => Err("neither `exec` nor `file` may be empty"),
        _ => Ok(text.to_owned()),
    };
    let (exec, file) = (table.item("exec"), table.item("file"));
    let timeout = table.item("timeout");
    let limit = timeout.as_ref().and_then(Item::limit).map_or(TIMEOUT, |limit| limit.value);
    let source = match (&exec, &file) {
        (Some(exec), None) => {
            exec.parsed(not_empty).map(|command| SecretSource::Exec { command: command.value, timeout: limit })
        }
        (None, Some(file)) => {
            if let Some(timeout) = &timeout {
                timeout.tell_key("`timeout` is for `exec`", "a file is just read");
            }
            file.parsed(not_empty).map(|path| SecretSource::File(path.value))
        }
        (Some(_), Some(_)) | (None, None) => {
            item.tell_key("a secret has one source", "exactly one of `exec` and `file`");
            None
        }
    };
    table.finish();
    source
}
