//! The specification as a page for people.

use std::fmt::Write as _;

use super::{Metric, Spec, Values};

const HEAD: &str = "\
# Metrics

Every metric of the worker (`/metrics` on `HTTP_ADDR`), of the publisher (with `--http-addr`), and of the API (`/metrics` on
`API_HTTP_ADDR`). Written from `prometheus/metrics.yml`; the tests of each program compare that file with a real page, in both directions.

*Labels* in braces have these values only, or those of a source: the catalog's queues, domains, entities and codes, the rows of
`core.marts`, `core.dq_rules` and `core.ticks`, or the routes and codes of `api/openapi.json`. No value ever comes from a message. *Database* marks gauges that describe the database,
not the process: every worker shows the same, so take `max` over instances, never `sum`. What these metrics are used for:
[observability](observability.md).
";

impl Spec {
    /// docs/metrics.md.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut page = HEAD.to_owned();
        for group in &self.groups {
            let program = match group.program.as_str() {
                "all" => "every program",
                program => program,
            };
            // Writing to a text cannot fail.
            let _ = write!(
                page,
                "\n## {} ({program})\n\n{}\n\n| metric | type | labels | meaning | tells |\n|---|---|---|---|---|\n",
                group.title,
                group.about.trim(),
            );
            for metric in &group.metrics {
                page.push_str(&row(metric));
            }
        }
        page.push_str("\n## Edges of the histograms\n\n| name | edges |\n|---|---|\n");
        for (name, edges) in &self.buckets {
            let edges: Vec<String> = edges.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "| {name} | {} |", edges.join(", "));
        }
        page
    }
}

fn row(metric: &Metric) -> String {
    let kind = match (&metric.buckets, &metric.state) {
        (Some(buckets), _) => format!("{}, {buckets}", metric.kind),
        (None, Some(state)) => format!("{}, {state}", metric.kind),
        (None, None) => metric.kind.clone(),
    };
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|(label, values)| match values {
            Values::List(list) => format!("`{label}` {{{}}}", list.join(", ")),
            Values::Source(source) if source == label => format!("`{label}`"),
            Values::Source(source) => format!("`{label}` ({})", source.replace('_', " ")),
        })
        .collect();
    let labels = match &metric.appears {
        Some(when) => format!("{}; appears {when}", labels.join(", ")),
        None => labels.join(", "),
    };
    format!(
        "| `{}` | {kind} | {labels} | {} [{}] | {} |\n",
        metric.name, metric.help, metric.unit, metric.question
    )
}
