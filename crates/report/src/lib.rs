//! Reports as code.
//!
//! A report is a folder with a `report.md`: front matter with parameters, Markdown, and cells of SQL, charts and checks
//! ([`document`]). [`Report::open`] reads it, [`Report::answer`] asks a lake what its cells want to know ([`Asks`]), and
//! [`Report::build`] draws charts and judges checks; [`Built`] is written as one HTML page that needs nothing else, or as
//! Markdown with pictures beside it. A cell that cannot be computed says so in its place, and the rest is built.
//!
//! Nothing in a report is trusted: values are bound into SQL, texts are escaped, raw HTML is shown as text, and charts are
//! drawn where there are no files and no network. So a page is the same bytes for the same report, parameters and snapshot.

mod answer;
mod build;
mod charts;
mod checks;
mod document;
mod error;
mod expression;
mod html;
mod markdown;
mod parameters;
mod template;
mod value;
mod weave;

pub use answer::{Answer, Asks, Column, Question, Unanswered};
pub use build::{Answers, Built, Fault, Moment, Report};
pub use checks::{Check, Verdict};
pub use error::{Error, Result};
pub use html::message_page;
pub use markdown::Written;
pub use parameters::{Kind, Parameter};
pub use template::{TEMPLATES, Template};
pub use value::Value;

/// The file of a folder that is the report.
pub const FILE: &str = "report.md";

#[cfg(test)]
mod tests;
