//! Plans of statements that were described a moment ago.
//!
//! Clients ask what a statement's answer will look like, and then for the answer. Table functions read their rows when they
//! are planned, so planning twice would be half of the work: what was planned to be described is taken when it is run, if
//! nothing was written in between.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use runlake_types::Seq;

use crate::Request;
use crate::queries::Planned;

/// Plans that are kept, and for how long: they hold what their functions read.
const MOST: usize = 4;
const TIME: Duration = Duration::from_secs(10);

/// See the module. Clones share the plans.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Plans>>);

#[derive(Default)]
struct Plans {
    /// The number of the next.
    next: u64,
    plans: Vec<Plan>,
}

struct Plan {
    number: u64,
    request: Request,
    planned: Planned,
}

impl Kept {
    /// Keeps a plan for a while. Called on the threads of queries.
    pub(crate) fn keep(&self, request: Request, planned: Planned) {
        let number = {
            let mut kept = self.0.lock();
            if kept.plans.len() >= MOST {
                kept.plans.remove(0);
            }
            let number = kept.next;
            kept.next += 1;
            kept.plans.push(Plan { number, request, planned });
            number
        };
        let kept = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(TIME).await;
            if let Some(kept) = kept.upgrade() {
                kept.lock().plans.retain(|plan| plan.number != number);
            }
        });
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().plans.len()
    }

    /// The plan of the same request at the same position; it is there once.
    pub(crate) fn take(&self, request: &Request, seq: Seq) -> Option<Planned> {
        let mut kept = self.0.lock();
        let place = kept.plans.iter().position(|plan| plan.planned.seq == seq && plan.request == *request)?;
        Some(kept.plans.remove(place).planned)
    }
}
