//! The points of one series in one generation: always sorted, each point once.

use std::cmp::Ordering;

use imbl::OrdSet;
use runlake_types::{ExperimentId, MetricAggregate, Point};

use crate::points::Points;

/// Points of a series in file order, and their aggregate.
#[derive(Debug, Clone)]
pub struct SeriesRows {
    experiment_id: ExperimentId,
    aggregate: MetricAggregate,
    greatest: Point,
    rows: Rows,
}

/// Training logs in order, so points are appended; the first one out of order turns the series into a tree.
#[derive(Debug, Clone)]
enum Rows {
    Ascending(Points),
    Tree(OrdSet<FileOrdered>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileOrdered(Point);

impl PartialOrd for FileOrdered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FileOrdered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.file_order(&other.0)
    }
}

impl SeriesRows {
    pub(crate) fn new(experiment_id: ExperimentId, first: Point) -> Self {
        Self {
            experiment_id,
            aggregate: MetricAggregate::of(first),
            greatest: first,
            rows: Rows::Ascending(Points::of(first)),
        }
    }

    /// Adds a point unless it is there already; says whether it was new.
    pub(crate) fn insert(&mut self, point: Point) -> bool {
        if point.file_order(&self.greatest).is_gt() {
            match &mut self.rows {
                Rows::Ascending(points) => points.push(point),
                Rows::Tree(tree) => {
                    tree.insert(FileOrdered(point));
                }
            }
            self.greatest = point;
        } else if !self.insert_out_of_order(point) {
            return false;
        }
        self.aggregate.add(point);
        true
    }

    /// Adds points, as [`Self::insert`] does each; says how many were new. Those that come in order cost little.
    pub(crate) fn extend(&mut self, points: impl Iterator<Item = Point>) -> usize {
        let before = self.aggregate.count;
        let mut points = points.peekable();
        while let Some(point) = points.next() {
            let Rows::Ascending(rows) = &mut self.rows else {
                self.insert(point);
                continue;
            };
            if !point.file_order(&self.greatest).is_gt() {
                self.insert(point);
                continue;
            }
            let (greatest, aggregate) = (&mut self.greatest, &mut self.aggregate);
            *greatest = point;
            aggregate.add_later(point);
            rows.push_all(point, || {
                let point = points.next_if(|point| point.file_order(greatest).is_gt())?;
                *greatest = point;
                aggregate.add_later(point);
                Some(point)
            });
        }
        usize::try_from(self.aggregate.count - before).unwrap_or(usize::MAX)
    }

    fn insert_out_of_order(&mut self, point: Point) -> bool {
        if let Rows::Ascending(points) = &self.rows {
            if points.contains(&point) {
                return false;
            }
            self.rows = Rows::Tree(points.iter().map(FileOrdered).collect());
        }
        match &mut self.rows {
            Rows::Tree(tree) => tree.insert(FileOrdered(point)).is_none(),
            Rows::Ascending(_) => unreachable!("turned into a tree above"),
        }
    }

    /// The run's experiment.
    pub fn experiment_id(&self) -> ExperimentId {
        self.experiment_id
    }

    /// What is known without reading the points.
    pub fn aggregate(&self) -> &MetricAggregate {
        &self.aggregate
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Ascending(points) => points.len(),
            Rows::Tree(tree) => tree.len(),
        }
    }

    /// Whether there is no point: never, as a series is made with its first one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The points in file order.
    pub fn points(&self) -> Box<dyn Iterator<Item = Point> + '_> {
        match &self.rows {
            Rows::Ascending(points) => Box::new(points.iter()),
            Rows::Tree(tree) => Box::new(tree.iter().map(|point| point.0)),
        }
    }
}
