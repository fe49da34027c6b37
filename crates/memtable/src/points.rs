//! An append-only run of points in file order, shared in chunks.

use std::sync::Arc;

use runlake_types::Point;

/// Points per shared chunk: what a snapshot may force the writer to copy once per series.
const CHUNK: usize = 256;

/// Ascending points. Cloning shares full chunks and the tail; a push after a clone copies the tail only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Points {
    full: Vec<Arc<Vec<Point>>>,
    tail: Arc<Vec<Point>>,
}

impl Points {
    pub(crate) fn of(point: Point) -> Self {
        Self { full: Vec::new(), tail: Arc::new(vec![point]) }
    }

    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.tail.len()
    }

    /// Appends a point; the caller knows that it comes after the last one.
    pub(crate) fn push(&mut self, point: Point) {
        self.push_all(point, || None);
    }

    /// Appends a point and then those that `next` gives, until it gives none or a chunk is full. The caller knows that
    /// each comes after the one before.
    pub(crate) fn push_all(&mut self, first: Point, mut next: impl FnMut() -> Option<Point>) {
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(first);
        while tail.len() < CHUNK {
            let Some(point) = next() else { return };
            tail.push(point);
        }
        let full = std::mem::replace(&mut self.tail, Arc::new(Vec::with_capacity(CHUNK)));
        self.full.push(full);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(self.tail.iter()).copied()
    }

    /// Whether a point equal to `point` is there.
    pub(crate) fn contains(&self, point: &Point) -> bool {
        let chunk_at = self.full.partition_point(|chunk| chunk[CHUNK - 1].file_order(point).is_lt());
        let chunk = self.full.get(chunk_at).map_or(self.tail.as_slice(), |chunk| chunk.as_slice());
        chunk.binary_search_by(|at| at.file_order(point)).is_ok()
    }
}
