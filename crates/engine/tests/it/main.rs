//! The engine as a whole, over real stores: answers like a model, keeps what it acknowledged through faults and crashes,
//! shows consistent cuts, asks little of the store, and is fenced off by its successor.
//!
//! Each scenario runs in memory and on local files. With `RUNLAKE_TEST_LAKE=s3://bucket/prefix` (or `az://`, `gs://`, with
//! the credentials that store takes from the environment) and `--ignored` it runs there; the `stores` tests of the
//! workspace do so with an S3 and an Azure server of their own. `RUNLAKE_TEST_SEED` repeats one seed.

mod crash;
mod cut;
mod faults;
mod fencing;
mod ledger;
mod model;
mod place;
mod requests;
mod search;
mod upkeep;
