//! The store as a source of samples for PromQL.

use std::sync::Arc;

use promql::expr::Matcher;
use promql::{Labels, Point, Selected, Series, Source};

use crate::block::{Ask, Block, TooMuch};
use crate::chunk::Chunk;
use crate::order::{HIDES, settle};
use crate::store::{State, Store};

/// What is needed of the store to answer.
struct Needed {
    series: Vec<u32>,
    labels: Vec<Labels>,
    blocks: Vec<Arc<Block>>,
    /// By place of the series.
    heads: Vec<Vec<Arc<Chunk>>>,
    /// From when on samples are needed, in milliseconds: earlier than was asked for when they may hide later ones.
    after: i64,
}

impl State {
    fn needed(&self, matchers: &[Matcher], after: i64, until: i64) -> Needed {
        let after = if self.is_disordered() { after.saturating_sub(HIDES) } else { after };
        let (series, labels): (Vec<u32>, Vec<Labels>) = self
            .registry
            .select(matchers)
            .into_iter()
            .map(|(number, labels)| (number, labels.clone()))
            .unzip();
        let within = |block: &&Arc<Block>| block.name.from <= until && block.name.until > after;
        let blocks: Vec<Arc<Block>> = self.blocks.iter().filter(within).cloned().collect();
        let mut heads: Vec<Vec<Arc<Chunk>>> = vec![Vec::new(); series.len()];
        for (number, into) in series.iter().zip(&mut heads) {
            self.head.chunks(*number, after, until, into);
        }
        Needed { series, labels, blocks, heads, after }
    }
}

impl Source for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
        limit: usize,
    ) -> Result<Selected, promql::Error> {
        // What is needed is taken under the lock, and read without it.
        let needed = self.read().needed(matchers, after, until);
        let mut points: Vec<Vec<Point>> = vec![Vec::new(); needed.series.len()];
        let (mut left, mut warnings) = (limit, Vec::new());
        let ask = Ask { series: &needed.series, after: needed.after, until };
        for block in &needed.blocks {
            let damaged = block.read(ask, &mut points, &mut left).map_err(too_much)?;
            if damaged > 0 {
                let block = block.path.file_name().unwrap_or_default().display();
                warnings.push(format!(
                    "{damaged} damaged chunks of {block} were left out: samples may be missing"
                ));
            }
        }
        for (chunks, points) in needed.heads.into_iter().zip(&mut points) {
            for chunk in chunks {
                let before = points.len();
                let damaged = || promql::Error::Storage("samples in memory are damaged".to_owned());
                chunk.read(needed.after, until, points).ok_or_else(damaged)?;
                left = left.checked_sub(points.len() - before).ok_or_else(|| too_much(TooMuch))?;
                settle(points, before);
            }
        }
        if needed.after < after {
            points.iter_mut().for_each(|points| points.retain(|point| point.at > after));
        }
        let series = needed.labels.into_iter().zip(points).filter(|(_, points)| !points.is_empty());
        let series = series.map(|(labels, points)| Series { labels, points }).collect();
        Ok(Selected { series, warnings })
    }
}

fn too_much(TooMuch: TooMuch) -> promql::Error {
    promql::Error::TooMuch(
        "query processing would load too many samples into memory; ask for fewer series or a shorter range"
            .to_owned(),
    )
}
