//! The filter language, sort clauses and page tokens of searches.
//!
//! A filter goes text → tokens → [`Expr`] → what the entity searched takes: a
//! [`Predicate`](runlake_engine::search::Predicate) of the search index for runs, an [`ExperimentFilter`] or a
//! [`ModelFilter`] evaluated in memory for the others. The grammar (at [`parse`]) is a superset of MLflow's, which knows
//! only AND; what is wrong in both is refused in MLflow's words, with the place pointed at.
//!
//! Nothing here reads the lake.

mod ast;
mod compare;
mod error;
mod experiments;
mod lex;
mod models;
mod parse;
mod run;
mod sort;
mod token;

pub use ast::{Comparison, Expr, Field, Literal, Name, Operator, Test, Value};
pub use compare::{Clause, Condition, Lists, NumberTest, Signed, TextOperator, TextTest, Wording, WrittenText, listed};
pub use error::{SearchError, Span};
pub use experiments::{ExperimentFilter, ExperimentOrder};
pub use lex::Quote;
pub use models::{ModelFilter, ModelOrder};
pub use parse::{MAX_COMPARISONS, MAX_DEPTH, MAX_FILTER_BYTES, parse, parse_order};
pub use run::{MAX_ORDER_BY, run_filter, run_order};
pub use sort::{SortKey, SortValue, page};
pub use token::{TokenScope, ValueKind};
