//! What the store says of itself, as a page of metrics.

use store::Stats;

/// Name, kind, meaning and value of each.
fn families(stats: &Stats) -> [(&'static str, &'static str, &'static str, u64); 6] {
    let count = |number: usize| number as u64;
    [
        ("active_series", "gauge", "Series that get samples.", count(stats.active)),
        ("blocks", "gauge", "Finished stretches of time on disk.", count(stats.blocks)),
        ("bytes", "gauge", "Bytes on disk.", stats.bytes),
        (
            "damaged_chunks",
            "gauge",
            "Chunks on disk that were found damaged and are left out.",
            count(stats.damaged),
        ),
        ("refused_series_total", "counter", "Series refused because there were too many.", stats.refused),
        ("series", "gauge", "Series that are known.", count(stats.series)),
    ]
}

/// The page, in Prometheus' text format.
pub(crate) fn page(stats: &Stats) -> String {
    let family = |(name, kind, help, value): (&str, &str, &str, u64)| {
        let name = format!("shipshape_metrics_{name}");
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
    };
    families(stats).into_iter().map(family).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_told() {
        let page = page(&Stats { damaged: 3, ..Stats::default() });
        assert!(
            page.contains(
                "# TYPE shipshape_metrics_damaged_chunks gauge\nshipshape_metrics_damaged_chunks 3\n"
            )
        );
        assert_eq!(page.lines().count(), 18);
    }
}
