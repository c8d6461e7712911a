//! One `[[…phase]]`.

use super::Reader;
use crate::model::config::document::{Item, Table};
use crate::model::inventory::share::batches;
use crate::model::recipe::recipe::{Phase, Rolling, Spanned};
use crate::model::text::name::{PhaseName, RoleName, VarName};

impl<'a> Reader<'a> {
    pub(super) fn phases(&self, item: &Item<'a>) -> Vec<Phase> {
        let two = "the task has two phases";
        self.named(item, |table| self.phase(table), |phase| (phase.name.as_str(), &phase.place.span), two)
    }

    fn phase(&self, table: &Table<'a>) -> Option<Phase> {
        let name = table.parsed("name", PhaseName::parse);
        table.missing("name");
        let (on, optional) = role(table);
        let (once, key) = (table.boolean("once"), table.item("rolling"));
        let rolling = key.as_ref().map_or(Rolling::No, rolling);
        if let (Some(Spanned { value: true, .. }), true, Some(key)) = (&once, rolling != Rolling::No, &key) {
            key.report("a phase that runs `once`, on one host, has no batches to roll in");
        }
        let when = table.table("when").map(|table| when(&table)).unwrap_or_default();
        let (steps, tasks) = (table.item("step"), table.item("tasks"));
        self.exactly_one(&table.span(), &[("step", &steps), ("tasks", &tasks)]);
        let body = self.body(tasks, steps);
        // Read all of it before a bad name ends the reading.
        table.finish();
        let name = name?;
        Some(Phase {
            name: name.value,
            on,
            optional,
            once: once.is_some_and(|once| once.value),
            rolling,
            when,
            body,
            place: self.document.place(name.span),
        })
    }
}

/// `on`, and `optional`, of a phase or a step.
pub fn role(table: &Table<'_>) -> (Option<RoleName>, bool) {
    let on = table.item("on");
    let optional = table.item("optional");
    if let (Some(optional), None) = (&optional, &on) {
        optional.tell_key("`optional` needs `on`", "it is left out where no host of the site has that role");
    }
    let optional = optional.as_ref().and_then(Item::boolean).is_some_and(|optional| optional.value);
    (on.and_then(|on| on.parsed(RoleName::parse)).map(|on| on.value), optional)
}

/// `rolling = true`, or the sizes of the batches: `rolling = ["1", "25%"]`.
fn rolling(item: &Item<'_>) -> Rolling {
    if item.is_array() {
        return batches(item).map_or(Rolling::No, |sizes| Rolling::Batches(sizes.value));
    }
    match item.boolean() {
        Some(Spanned { value: true, .. }) => Rolling::AsSite,
        Some(_) | None => Rolling::No,
    }
}

/// `when = { closing = "all" }`.
fn when(table: &Table<'_>) -> Vec<(Spanned<VarName>, String)> {
    let wanted = |item: Item<'_>| {
        let name = item.parsed_key(item.key, VarName::parse)?;
        Some((Spanned { value: name, span: item.key_span.clone() }, item.text()?.value))
    };
    table.items().into_iter().filter_map(wanted).collect()
}
