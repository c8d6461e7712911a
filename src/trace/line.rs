//! A line of the log: `2026-11-22T08:45:12.123Z DEBUG host=web1 step=roll/migrate attempt=1 fleet::engine::worker: ended outcome=succeeded`.

use std::fmt;

use jiff::Timestamp;
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// The span that all of a run has: its name is that of the record's folder.
const RUN: &str = "run";

/// Writes lines.
pub struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // Those of the crate `log` are all of one kind, and have their own in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        write!(out, "{:.3} {:>5} ", Timestamp::now(), metadata.level())?;
        let mut spans = context.event_scope().into_iter().flat_map(Scope::from_root).peekable();
        if let (None, Some(task)) = (spans.peek(), tokio::task::try_id()) {
            write!(out, "task={task} ")?;
        }
        for span in spans.filter(|span| span.name() != RUN) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(out, "{fields} ")?;
            }
        }
        write!(out, "{}: ", metadata.target())?;
        context.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
