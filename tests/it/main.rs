//! Tests of the real binary, from outside.
//!
//! `server` starts and stops processes, `lifecycle` is about the process itself (one owner per lake, takeover, bad
//! settings, maintenance commands), `clients` runs the Python suites below `tests/clients` with the stock clients, `stores`
//! the engine's tests and a server over an S3 and an Azure server of their own, `web` the tests of the web app.
//! `tests/README.md` says how to run one test.

mod binary;
mod clients;
mod lifecycle;
mod server;
mod stores;
mod tools;
mod web;
