//! Markdown for the README.

use std::fmt::Write;

use crate::contender::Outcome;
use crate::stats::Summary;

/// A table of contenders; the first that has samples is 1 in the column of ratios.
pub(crate) fn starts(title: &str, outcomes: &[Outcome]) -> String {
    let summaries: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.samples.as_ref().map(|samples| Summary::of(samples)))
        .collect();
    let first = summaries.iter().find_map(|s| s.as_ref().ok().copied().flatten());
    let mut out = format!(
        "### {title}\n\n\
         | | median ms | p10 to p90 | CPU ms | ratio | n | what it does |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
    );
    for (outcome, summary) in outcomes.iter().zip(&summaries) {
        let row = match summary {
            Ok(Some(summary)) => format!("{} | {}", numbers(summary, first), outcome.note),
            Ok(None) => "- | | | | 0 | no samples".to_owned(),
            Err(reason) => format!("- | | | | 0 | {}", reason.replace(['|', '\n'], " ")),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| {} | {row} |", outcome.name);
    }
    out
}

fn numbers(summary: &Summary, first: Option<Summary>) -> String {
    let [low, median, high] = summary.wall_us.map(|us| us / 1000.0);
    let ratio = first.map_or(1.0, |first| summary.median_us() / first.median_us());
    let cpu = summary.cpu_us / 1000.0;
    format!("{median:.2} | {low:.2} to {high:.2} | {cpu:.2} | {ratio:.2} | {}", summary.count)
}

/// A table of names and cells.
pub(crate) fn plain(title: &str, head: &[String], rows: &[(String, Vec<String>)]) -> String {
    let rule = " ---: |".repeat(head.len());
    let mut out = format!("### {title}\n\n| | {} |\n| --- |{rule}\n", head.join(" | "));
    for (name, cells) in rows {
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Sample;

    #[test]
    fn ratios_are_to_the_first_and_the_missing_say_why() {
        let at = |us| vec![Sample { wall_us: us, cpu_us: us / 2.0 }];
        let outcome =
            |name: &str, samples| Outcome { name: name.into(), note: "note".into(), samples };
        let text = starts(
            "T",
            &[
                outcome("limit", Ok(at(2000.0))),
                outcome("runc", Ok(at(40000.0))),
                outcome("crun", Err("not installed".into())),
            ],
        );
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(
            rows,
            [
                "| limit | 2.00 | 2.00 to 2.00 | 1.00 | 1.00 | 1 | note |",
                "| runc | 40.00 | 40.00 to 40.00 | 20.00 | 20.00 | 1 | note |",
                "| crun | - | | | | 0 | not installed |",
            ]
        );
    }
}
