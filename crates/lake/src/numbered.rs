//! A long series whose points are addressed by number: a chart takes a few hundred of a million.

use std::sync::Arc;

use runlake_types::{Point, RunId};

use crate::file::DataFile;
use crate::read::{self, OwnRows};
use crate::snapshot::Files;
use crate::{Error, Snapshot};

/// A series in file order, most of it unread.
#[derive(Debug)]
pub struct NumberedSeries {
    files: Files,
    /// By steps, which no two pieces share.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Points(Vec<Point>),
    Rows(Arc<DataFile>, OwnRows),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Points(points) => points.len(),
            Self::Rows(_, own) => own.rows,
        }
    }

    /// First and last step.
    fn steps(&self) -> Option<(i64, i64)> {
        match self {
            Self::Points(points) => Some((points.first()?.step, points.last()?.step)),
            Self::Rows(_, own) => Some(own.steps),
        }
    }
}

impl Snapshot {
    /// Facts: a series as numbered points, together with `newer` ones in file order that no file holds. `None` where
    /// points cannot be numbered unread: files, or files and newer points, that have steps in common.
    pub async fn numbered(
        &self,
        run_id: &RunId,
        key: &str,
        newer: Vec<Point>,
    ) -> Result<Option<NumberedSeries>, Error> {
        let series = [run_id.as_str(), key];
        let mut pieces = vec![Piece::Points(newer)];
        for file in self.files().iter().filter(|file| file.may_hold_text(&series)) {
            let Some(outline) = read::outline(self.shared(), file, series).await? else { return Ok(None) };
            match outline.own {
                None => pieces.push(Piece::Points(outline.mixed)),
                Some(own) => {
                    let behind = outline.mixed.partition_point(|point| point.step < own.steps.0);
                    let (before, after) = outline.mixed.split_at(behind);
                    pieces.extend([before, after].map(|points| Piece::Points(points.to_vec())));
                    pieces.push(Piece::Rows(Arc::clone(file), own));
                }
            }
        }
        pieces.retain(|piece| piece.len() > 0);
        pieces.sort_by_key(Piece::steps);
        let apart = pieces.windows(2).all(|pair| match (pair[0].steps(), pair[1].steps()) {
            (Some((_, last)), Some((first, _))) => last < first,
            _ => false,
        });
        Ok(apart.then(|| NumberedSeries { files: self.shared().clone(), pieces }))
    }
}

impl NumberedSeries {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// First and last step.
    pub fn steps(&self) -> Option<(i64, i64)> {
        Some((self.pieces.first()?.steps()?.0, self.pieces.last()?.steps()?.1))
    }

    /// The points with these numbers, which ascend and are less than [`Self::len`].
    pub async fn points_at(&self, numbers: &[usize]) -> Result<Vec<Point>, Error> {
        let mut points = Vec::with_capacity(numbers.len());
        let (mut start, mut rest) = (0, numbers);
        for piece in &self.pieces {
            let end = start + piece.len();
            let (here, later) = rest.split_at(rest.partition_point(|number| *number < end));
            rest = later;
            if !here.is_empty() {
                let within: Vec<usize> = here.iter().map(|number| number - start).collect();
                match piece {
                    Piece::Points(held) => points.extend(within.iter().map(|number| held[*number])),
                    Piece::Rows(file, own) => {
                        points.extend(read::points_at(&self.files, file, own, &within).await?);
                    }
                }
            }
            start = end;
        }
        Ok(points)
    }
}
