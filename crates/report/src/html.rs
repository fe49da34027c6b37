//! One HTML page that needs nothing else: no scripts, no requests, and a policy that forbids them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{CodeBlockKind, CowStr, Event, HeadingLevel, LinkType, Parser, Tag, TagEnd};

use crate::answer::Answer;
use crate::build::{Built, EMPTY, Outcome, Report};
use crate::checks::{Check, Verdict};
use crate::document::{Cell, MARKDOWN};
use crate::value::{Value, float, grouped};
use crate::weave::{CELL, Woven};

const STYLE: &str = include_str!("style.css");
/// Rows that a table shows unless its cell says `rows=`.
const SHOWN_ROWS: usize = 100;

/// Text as HTML shows it, also within quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Built<'_> {
    /// The page. A live one loads `live.js` from where it came from.
    pub fn html(&self, is_live: bool) -> String {
        let woven = self.woven();
        let body = self.events(&woven);
        let headings = headings(&body);
        let begins_with_title =
            matches!(headings.first(), Some(first) if first.level == HeadingLevel::H1 && first.is_first);
        let title = self.title(headings.first().filter(|_| begins_with_title).map(|first| first.text.as_str()));
        let (live, policy) = if is_live {
            ("<script src=\"live.js\"></script>\n", " script-src 'self'; connect-src 'self';")
        } else {
            ("", "")
        };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:;{policy} base-uri 'none'; form-action \
             'none'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" \
             content=\"light dark\">\n<meta name=\"generator\" content=\"runlake {}\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n\
             {live}</head>\n<body>\n<main>\n",
            env!("CARGO_PKG_VERSION"),
            escape(&title),
        );
        if !begins_with_title {
            let _ = writeln!(page, "<h1>{}</h1>", escape(&title));
        }
        let front = &self.report.document.front;
        let mut rest = body.as_slice();
        if begins_with_title {
            let end = body.iter().position(|event| matches!(event, Event::End(TagEnd::Heading(_)))).unwrap_or(0);
            pulldown_cmark::html::push_html(&mut page, with_ids(&body[..=end], &headings));
            rest = &body[end + 1..];
        }
        if let Some(description) = &front.description {
            let _ = writeln!(page, "<p class=\"lead\">{}</p>", escape(&self.filled(description)));
        }
        self.banner(&mut page);
        contents(&mut page, &headings[usize::from(begins_with_title)..]);
        pulldown_cmark::html::push_html(&mut page, with_ids(rest, &headings[usize::from(begins_with_title)..]));
        page.push_str("</main>\n");
        self.foot(&mut page);
        page.push_str("</body>\n</html>\n");
        page
    }

    pub(crate) fn title(&self, heading: Option<&str>) -> String {
        let front = &self.report.document.front;
        match (&front.title, heading) {
            (Some(title), _) => self.filled(title),
            (None, Some(heading)) => heading.to_owned(),
            (None, None) => self.report.name().to_owned(),
        }
    }

    /// What the reader should know first: checks that fail, cells that are missing.
    fn banner(&self, page: &mut String) {
        let failed = self.checks().filter(|check| matches!(check.verdict, Verdict::Fails(_))).count();
        let all = self.checks().count();
        let faults = self.faults().len();
        if failed > 0 {
            let _ = writeln!(page, "<p class=\"banner bad\">{failed} of {all} checks failed.</p>");
        } else if all > 0 && faults == 0 {
            let _ = writeln!(
                page,
                "<p class=\"banner good\">{}</p>",
                if all == 1 { "The check holds." } else { "All checks hold." }
            );
        }
        if faults > 0 {
            let what = if faults == 1 { "1 part of this report" } else { &format!("{faults} parts of this report") };
            let _ = writeln!(page, "<p class=\"banner bad\">{what} could not be computed.</p>");
        }
    }

    fn foot(&self, page: &mut String) {
        page.push_str("<footer>\n<dl>\n");
        for (term, text) in self.facts() {
            let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", escape(&term), escape(&text));
        }
        page.push_str("</dl>\n</footer>\n");
    }

    /// What a report says of itself at its end.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let snapshot = match self.positions() {
            None => "none was read".to_owned(),
            Some((first, last)) if first == last => format!("position {first}"),
            Some((first, last)) => format!("positions {first} to {last}: the lake was written meanwhile"),
        };
        facts.push(("Snapshot".to_owned(), snapshot));
        match &self.moment.as_of {
            Some(time) => facts.push(("As of".to_owned(), time.clone())),
            None => facts.push(("Built".to_owned(), format!("{} from what was there then", self.moment.now))),
        }
        facts.extend(self.parameters.iter().map(|(name, value)| (name.clone(), plain(value))));
        facts.push(("runlake".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        facts
    }

    /// Markdown as events of which none is dangerous.
    fn events<'a>(&'a self, woven: &'a Woven) -> Vec<Event<'a>> {
        let mut out = Vec::new();
        let mut events = Parser::new_ext(&woven.text, MARKDOWN);
        let (mut in_code, mut closing) = (false, Vec::new());
        while let Some(event) = events.next() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    if let Some(number) = cell_number(&kind) {
                        events.by_ref().find(|event| matches!(event, Event::End(TagEnd::CodeBlock)));
                        if let Some((cell, outcome)) = self.cells().nth(number) {
                            out.push(Event::Html(shown(cell, outcome).into()));
                        }
                    } else {
                        in_code = true;
                        out.push(Event::Start(Tag::CodeBlock(kind)));
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    in_code = false;
                    out.push(Event::End(TagEnd::CodeBlock));
                }
                Event::Text(text) if in_code => out.push(Event::Text(woven.source(&text).into())),
                Event::Text(text) => {
                    for part in woven.parts(&text) {
                        out.push(match part.map_err(|inset| (&inset.source, &inset.value)) {
                            Ok(plain) => Event::Text(plain.to_owned().into()),
                            Err((_, Ok(value))) => Event::Text(value.as_str().into()),
                            Err((source, Err(message))) => Event::InlineHtml(fault_inline(source, message).into()),
                        });
                    }
                }
                Event::Code(text) => out.push(Event::Code(woven.source(&text).into())),
                Event::Html(html) if html.trim().starts_with("<!--") && html.trim().ends_with("-->") => {}
                Event::Html(html) | Event::InlineHtml(html) => out.push(Event::Text(woven.source(&html).into())),
                Event::Start(Tag::HtmlBlock) => out.push(Event::Start(Tag::Paragraph)),
                Event::End(TagEnd::HtmlBlock) => out.push(Event::End(TagEnd::Paragraph)),
                Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                    let dest_url = safe(woven.address(&dest_url)).into();
                    let title = woven.source(&title).into();
                    out.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
                }
                Event::Start(Tag::Image { dest_url, title, id, .. }) => {
                    let (start, end) = self.image(woven, &dest_url, &title, id);
                    out.push(start);
                    closing.push(end);
                }
                Event::End(TagEnd::Image) => out.extend(closing.pop()),
                other => out.push(other),
            }
        }
        out
    }

    /// A picture of the folder is put into the page; one of elsewhere becomes a link to it.
    fn image<'a>(&self, woven: &Woven, url: &str, title: &str, id: CowStr<'a>) -> (Event<'a>, Event<'a>) {
        let url = woven.address(url);
        if is_remote(&url) {
            let link =
                Tag::Link { link_type: LinkType::Inline, dest_url: safe(url).into(), title: CowStr::Borrowed(""), id };
            return (Event::Start(link), Event::End(TagEnd::Link));
        }
        match picture(self.report, &url) {
            Ok(data) => {
                let title = woven.source(title).into();
                let image = Tag::Image { link_type: LinkType::Inline, dest_url: data.into(), title, id };
                (Event::Start(image), Event::End(TagEnd::Image))
            }
            Err(message) => {
                (Event::InlineHtml(fault_inline(&url, &message).into()), Event::InlineHtml(CowStr::Borrowed("")))
            }
        }
    }
}

fn cell_number(kind: &CodeBlockKind<'_>) -> Option<usize> {
    match kind {
        CodeBlockKind::Fenced(info) => info.strip_prefix(CELL)?.parse().ok(),
        CodeBlockKind::Indented => None,
    }
}

/// A parameter's value as it would be given again.
fn plain(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}

fn is_remote(url: &str) -> bool {
    url.contains(':') || url.starts_with("//")
}

/// An address that does nothing but lead somewhere.
fn safe(url: String) -> String {
    let compact: String = url.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let scheme =
        compact.find([':', '/', '?', '#']).filter(|at| compact[*at..].starts_with(':')).map(|at| &compact[..at]);
    match scheme.map(str::to_ascii_lowercase).as_deref() {
        None | Some("http" | "https" | "mailto") => url,
        Some(_) => "#".to_owned(),
    }
}

/// Addresses of pictures in the folder.
pub(crate) fn pictures(woven: &Woven) -> Vec<String> {
    let of = |event| match event {
        Event::Start(Tag::Image { dest_url, .. }) => Some(woven.address(&dest_url)).filter(|url| !is_remote(url)),
        _ => None,
    };
    Parser::new_ext(&woven.text, MARKDOWN).filter_map(of).collect()
}

/// A picture of the report's folder as a data URL.
pub(crate) fn picture(report: &Report, name: &str) -> Result<String, String> {
    let kind = match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "png" => "png",
        "jpg" | "jpeg" => "jpeg",
        "gif" => "gif",
        "webp" => "webp",
        "svg" => "svg+xml",
        _ => return Err(format!("{name} is no picture: png, jpg, gif, webp and svg are")),
    };
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(report.file(name)?)))
}

struct Heading {
    level: HeadingLevel,
    text: String,
    id: String,
    /// Nothing stands before it.
    is_first: bool,
}

fn headings(events: &[Event<'_>]) -> Vec<Heading> {
    let mut found: Vec<Heading> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let Event::Start(Tag::Heading { level, .. }) = event else { continue };
        let inner = events[at..].iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let text: String = inner
            .filter_map(|event| match event {
                Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
                Event::SoftBreak | Event::HardBreak => Some(" "),
                _ => None,
            })
            .collect();
        let mut id: String =
            text.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).flat_map(char::to_lowercase).collect();
        id = id.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        let same =
            found.iter().filter(|other| other.id == id || other.id.strip_prefix(&id).is_some_and(is_number)).count();
        if same > 0 || id.is_empty() {
            let _ = write!(id, "-{}", same + 1);
        }
        found.push(Heading { level: *level, text, id, is_first: at == 0 });
    }
    found
}

fn is_number(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn with_ids<'a>(events: &'a [Event<'a>], headings: &'a [Heading]) -> impl Iterator<Item = Event<'a>> {
    let mut headings = headings.iter();
    events.iter().map(move |event| match event {
        Event::Start(Tag::Heading { level, .. }) => {
            let id = headings.next().map(|heading| CowStr::from(heading.id.as_str()));
            Event::Start(Tag::Heading { level: *level, id, classes: Vec::new(), attrs: Vec::new() })
        }
        other => other.clone(),
    })
}

/// A table of contents, where there is something to choose from.
fn contents(page: &mut String, headings: &[Heading]) {
    let entries: Vec<&Heading> = headings.iter().filter(|heading| heading.level <= HeadingLevel::H3).collect();
    if entries.len() < 3 {
        return;
    }
    let top = entries.iter().map(|heading| heading.level).min().unwrap_or(HeadingLevel::H1);
    page.push_str("<nav aria-label=\"Contents\"><ul>\n");
    for heading in entries {
        let class = if heading.level == top { "" } else { " class=\"sub\"" };
        let _ = writeln!(page, "<li{class}><a href=\"#{}\">{}</a></li>", escape(&heading.id), escape(&heading.text));
    }
    page.push_str("</ul></nav>\n");
}

fn fault_inline(source: &str, message: &str) -> String {
    format!("<span class=\"fault\" title=\"{}\">{} – {}</span>", escape(message), escape(source), escape(message))
}

/// Whether a cell is to be hidden, and has nothing to tell that its reader should know.
pub(crate) fn is_hidden(cell: &Cell, outcome: &Outcome) -> bool {
    let has_fault = match outcome {
        Outcome::Fault(_) => true,
        Outcome::Table(answer) => answer.rows.is_empty() && !cell.attributes.has("empty"),
        Outcome::Chart(..) | Outcome::Checks(_) | Outcome::Note(_) => false,
    };
    cell.attributes.has("hide") && !has_fault
}

/// A cell as it looks.
fn shown(cell: &Cell, outcome: &Outcome) -> String {
    let mut out = String::new();
    if is_hidden(cell, outcome) {
        return out;
    }
    let _ = writeln!(out, "<figure id=\"cell-{}\" class=\"{}\">", cell.name, cell.kind.word());
    if let Some(caption) = cell.attributes.get("caption") {
        let _ = writeln!(out, "<figcaption>{}</figcaption>", escape(caption));
    }
    match outcome {
        Outcome::Table(answer) => table(&mut out, cell, answer),
        Outcome::Chart(picture, alternative) => {
            let data = STANDARD.encode(themed(picture));
            let _ = writeln!(out, "<img src=\"data:image/svg+xml;base64,{data}\" alt=\"{}\">", escape(alternative));
        }
        Outcome::Checks(checks) => checklist(&mut out, checks),
        Outcome::Note(text) => {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(text));
        }
        Outcome::Fault(message) => fault(&mut out, cell, message),
    }
    if cell.attributes.has("source") {
        let _ = writeln!(
            out,
            "<details><summary>SQL</summary><pre><code>{}</code></pre></details>",
            escape(cell.body.trim_end())
        );
    }
    out.push_str("</figure>\n");
    out
}

fn fault(out: &mut String, cell: &Cell, message: &str) {
    let _ = writeln!(
        out,
        "<div class=\"fault\"><strong>The cell {} could not be computed.</strong> {}</div>",
        escape(&cell.name),
        escape(message)
    );
}

/// A picture whose ink follows the reader's theme, as the page does.
pub(crate) fn themed(picture: &str) -> String {
    let style = "<style>svg{color:#24292f}@media (prefers-color-scheme:dark){svg{color:#d5dae1}}@media print{svg{color:#000}}</style>";
    match picture.find('>') {
        Some(at) => format!("{}{style}{}", &picture[..=at], &picture[at + 1..]),
        None => picture.to_owned(),
    }
}

/// A value of a table as people read it.
pub(crate) fn told(cell: &Cell, answer: &Answer, row: usize, column: usize) -> Option<String> {
    let digits = cell.attributes.get("digits").and_then(|text| text.parse().ok());
    Some(match answer.value(row, column) {
        Value::Null => return None,
        Value::Float(number) => float(number, digits),
        Value::Int(number) => grouped(&number.to_string()),
        Value::Text(text) if answer.columns[column].is_time() => time(&text),
        other => other.to_string(),
    })
}

/// `2026-05-03T12:00:00.000000Z` as `2026-05-03 12:00:00`.
fn time(text: &str) -> String {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let text = text.split_once('.').map_or(text, |(seconds, _)| seconds);
    text.replacen('T', " ", 1)
}

/// Rows that are shown, and what is said of the others.
pub(crate) fn cut(cell: &Cell, answer: &Answer) -> (usize, Option<String>) {
    let all = answer.rows.len();
    let most = cell.attributes.get("rows").and_then(|text| text.parse().ok()).unwrap_or(SHOWN_ROWS);
    let of =
        if answer.truncated { format!("the first {}", grouped(&all.to_string())) } else { grouped(&all.to_string()) };
    let note =
        (all > most || answer.truncated).then(|| format!("{} of {of} rows", grouped(&all.min(most).to_string())));
    (all.min(most), note)
}

fn table(out: &mut String, cell: &Cell, answer: &Answer) {
    if answer.rows.is_empty() {
        let may_be = cell.attributes.has("empty");
        let (class, text) = if may_be { ("note", "No rows.") } else { ("fault", EMPTY) };
        let name = if may_be { String::new() } else { format!("<strong>{}</strong>: ", escape(&cell.name)) };
        let _ = writeln!(out, "<div class=\"{class}\">{name}{}</div>", escape(text));
        return;
    }
    let class = |column: usize| if answer.columns[column].is_number() { " class=\"number\"" } else { "" };
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    for (place, column) in answer.columns.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(place), escape(&column.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let (rows, note) = cut(cell, answer);
    for row in 0..rows {
        out.push_str("<tr>");
        for place in 0..answer.columns.len() {
            match told(cell, answer, row, place) {
                Some(text) => {
                    let _ = write!(out, "<td{}>{}</td>", class(place), escape(&text));
                }
                None => {
                    let _ = write!(out, "<td{}><span class=\"null\">–</span></td>", class(place));
                }
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    if let Some(note) = note {
        let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(&note));
    }
}

fn checklist(out: &mut String, checks: &[Check]) {
    out.push_str("<ul class=\"checks\">\n");
    for check in checks {
        let (class, word, values) = match &check.verdict {
            Verdict::Holds(values) => ("holds", "holds", values),
            Verdict::Fails(values) => ("fails", "FAILS", values),
            Verdict::Unknown(why) => ("unknown", "not computed", why),
        };
        let _ = write!(out, "<li class=\"{class}\"><b>{word}</b> <code>{}</code>", escape(&check.text));
        if let Some(message) = &check.message {
            let _ = write!(out, " <span>{}</span>", escape(message));
        }
        if !values.is_empty() {
            let _ = write!(out, " <small>{}</small>", escape(values));
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
}

/// A live page that shows a message and waits for a better one.
pub fn message_page(message: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'\">\n<title>There is no \
         report yet</title>\n<style>\n{STYLE}</style>\n<script src=\"live.js\"></script>\n</head>\n<body>\n<main>\n<h1>There is no \
         report yet</h1>\n<div class=\"fault\">{}</div>\n</main>\n</body>\n</html>\n",
        escape(message)
    )
}
