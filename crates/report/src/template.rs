//! Reports to start from.

use std::fmt::Write as _;
use std::path::Path;

use crate::document::Document;
use crate::error::invalid;
use crate::{FILE, Result};

/// A report to start from.
#[derive(Debug, Clone, Copy)]
pub struct Template {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    files: &'static [(&'static str, &'static str)],
}

/// All there are.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "leaderboard",
        about: "the best runs of an experiment by one metric, and what they were run with",
        files: &[
            (FILE, include_str!("templates/leaderboard.md")),
            ("scores.vl.json", include_str!("templates/scores.vl.json")),
        ],
    },
    Template {
        name: "curves",
        about: "training curves of the newest runs of an experiment",
        files: &[
            (FILE, include_str!("templates/curves.md")),
            ("curves.vl.json", include_str!("templates/curves.vl.json")),
        ],
    },
    Template {
        name: "model-card",
        about: "a registered model's version: where it comes from, how good it is, who changed it",
        files: &[(FILE, include_str!("templates/model-card.md"))],
    },
    Template {
        name: "regression-gate",
        about: "checks that the newest version of a model is no worse than the one an alias names",
        files: &[(FILE, include_str!("templates/regression-gate.md"))],
    },
];

impl Template {
    /// The template called `name`.
    pub fn named(name: &str) -> Result<Self> {
        if let Some(template) = TEMPLATES.iter().find(|template| template.name == name) {
            return Ok(*template);
        }
        let known: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
        invalid(format!("there is no template {name:?}; there are {}", known.join(", ")))
    }

    /// Writes it to `folder`, with the `given` values as defaults of its parameters.
    pub fn write(&self, folder: &Path, given: &[(String, String)]) -> Result<()> {
        if folder.join(FILE).exists() {
            return invalid(format!("{} is there already: choose another folder", folder.join(FILE).display()));
        }
        for (name, text) in self.files {
            let text = if *name == FILE { with_defaults(text, given)? } else { (*text).to_owned() };
            let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(name), text));
            if let Err(error) = written {
                return invalid(format!("{} cannot be written: {error}", folder.join(name).display()));
            }
        }
        Ok(())
    }
}

/// The source with `default = …` for the given parameters.
fn with_defaults(source: &str, given: &[(String, String)]) -> Result<String> {
    // Tells the wrong ones; what is not given may be given later.
    let declared = Document::parse(source)?.front.parameters;
    let mut text = source.to_owned();
    for (name, value) in given {
        // Of a name that is not there the message lists all that are.
        let among = match declared.get_key_value(name) {
            Some((name, parameter)) => [(name.clone(), parameter.clone())].into(),
            None => declared.clone(),
        };
        let bound = crate::parameters::bind(&among, &[(name.clone(), value.clone())])?;
        let literal = match &bound[name] {
            crate::Value::Text(text) => quoted(text),
            crate::Value::Float(number) => format!("{number:?}"),
            other => other.json().to_string(),
        };
        let head = format!("[parameters.{name}]\n");
        let Some((before, after)) = text.split_once(&head) else {
            return invalid(format!("the template does not declare {name} as a table"));
        };
        let rest: String = after
            .split_inclusive('\n')
            .scan(true, |is_head, line| {
                *is_head = *is_head && !line.starts_with('[') && !line.starts_with("+++");
                Some(if *is_head && line.starts_with("default") { "" } else { line })
            })
            .collect();
        text = format!("{before}{head}default = {literal}\n{rest}");
    }
    Ok(text)
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Report;

    #[test]
    fn every_template_is_a_report() {
        for template in TEMPLATES {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("new");
            template.write(&path, &[]).expect("a report");
            let report = Report::open(&path).expect(template.name);
            assert!(report.document.cells.len() > 2, "{}", template.name);
            let error = template.write(&path, &[]).expect_err("it is there").to_string();
            assert!(error.contains("already"), "{error}");
        }
        assert!(Template::named("leader").expect_err("none").to_string().contains("regression-gate"));
    }

    #[test]
    fn given_values_become_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let given = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let template = Template::named("leaderboard").expect("a template");
        let values = given(&[("experiment", "a \"quoted\" \\ one\n"), ("top", "3"), ("better", "higher")]);
        template.write(folder.path(), &values).expect("a report");
        let bound = Report::open(folder.path()).expect("a report").parameters(&[]).expect("defaults");
        assert_eq!(bound["experiment"], crate::Value::Text("a \"quoted\" \\ one\n".to_owned()));
        assert_eq!(
            (&bound["top"], &bound["better"]),
            (&crate::Value::Int(3), &crate::Value::Text("higher".to_owned()))
        );
        for (values, told) in [
            (given(&[("top", "many")]), "an integer"),
            (given(&[("tpo", "3")]), "no parameter tpo"),
            (given(&[("better", "best")]), "one of lower, higher"),
        ] {
            let other = folder.path().join("other");
            let error = template.write(&other, &values).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
            assert!(!other.exists());
        }
    }
}
