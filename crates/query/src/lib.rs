//! SQL over a lake.
