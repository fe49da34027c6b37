//! Reports over answers that are made up: what is written, and what is never.

use std::sync::Mutex;

use async_trait::async_trait;
use indexmap::IndexMap;
use serde_json::json;

use super::*;

/// Answers by the first word of a statement's comment, and notes what it was asked.
#[derive(Default)]
struct Lake {
    asked: Mutex<Vec<Question>>,
}

fn column(name: &str, kind: &str) -> Column {
    Column { name: name.to_owned(), kind: kind.to_owned() }
}

#[async_trait]
impl Asks for Lake {
    async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        let mut answer = Answer { position: Some(17), ..Answer::default() };
        let sql = question.sql.clone();
        let first = question.parameters.first().map(|(_, value)| value.json());
        self.asked.lock().expect("no panic").push(question);
        if sql.contains("AWAY") {
            return Err(Unanswered::Away("nobody is there".to_owned()));
        }
        if sql.contains("WRONG") {
            return Err(Unanswered::Refused("Line: 1: <no> such column".to_owned()));
        }
        answer.columns = vec![column("name", "VARCHAR"), column("loss", "DOUBLE"), column("steps", "BIGINT")];
        if sql.contains("TEXT") {
            answer.rows = vec![vec![first.unwrap_or_default(), json!(0.5), json!(12345)]];
        } else if !sql.contains("EMPTY") {
            answer.rows = vec![
                vec![json!("a"), json!(0.25), json!(1000)],
                vec![json!("b|c"), json!("NaN"), json!(null)],
                vec![json!("d"), json!(0.75), json!(1_234_567)],
            ];
        }
        Ok(answer)
    }
}

fn report(source: &str) -> (tempfile::TempDir, Report) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE), source).expect("a file");
    let report = Report::open(folder.path()).expect("a report");
    (folder, report)
}

/// The page, the Markdown, the faults, and what was asked.
fn built(source: &str, given: &[(&str, &str)]) -> (String, String, Vec<Fault>, Vec<Question>) {
    let (_folder, report) = report(source);
    let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let parameters = report.parameters(&given).expect("parameters");
    let lake = Lake::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answers = runtime.block_on(report.answer(&parameters, &lake, |_| {})).expect("answers");
    let moment = Moment { as_of: Some("2026-05-03T12:00:00Z".to_owned()), now: String::new() };
    let built = report.build(parameters, answers, moment);
    let asked = lake.asked.lock().expect("no panic").clone();
    (built.html(false), built.markdown("files", "svg").text, built.faults().to_vec(), asked)
}

#[test]
fn a_report_shows_tables_checks_and_where_it_comes_from() {
    let source = "+++\ntitle = \"All of {{ who }}\"\n[parameters.who]\ndefault = \"us\"\n+++\nBest: {{ min(runs.steps) }} by \
                  `{{ who }}`.\n\n## One\n\n```sql name=runs caption=\"The runs\" rows=2\nSELECT $who\n```\n\n## Two\n\n## Two\n\n\
                  ```check\nassert rows(runs) = 3, \"there are three\"\nassert max(runs.steps) < 5\n```\n";
    let (page, text, faults, asked) = built(source, &[]);
    assert_eq!(faults, []);
    assert_eq!(asked[0].parameters, IndexMap::from([("who".to_owned(), Value::Text("us".into()))]));
    for wanted in [
        "<title>All of us</title>",
        "<h1>All of us</h1>",
        "Best: 1000 by <code>{{ who }}</code>.",
        "<figcaption>The runs</figcaption>",
        "<th scope=\"col\" class=\"number\">loss</th>",
        "<td class=\"number\">0.25</td><td class=\"number\">1000</td>",
        "<td>b|c</td><td class=\"number\">NaN</td><td class=\"number\"><span class=\"null\">–</span></td>",
        "2 of 3 rows",
        "<h2 id=\"two\">Two</h2>",
        "<h2 id=\"two-2\">Two</h2>",
        "<a href=\"#two-2\">Two</a>",
        "<b>holds</b> <code>rows(runs) == 3</code> <span>there are three</span>",
        "<b>FAILS</b> <code>max(runs.steps) &lt; 5</code>",
        "max(runs.steps) = 1,234,567",
        "1 of 2 checks failed.",
        "<dt>Snapshot</dt><dd>position 17</dd>",
        "<dt>As of</dt><dd>2026-05-03T12:00:00Z</dd>",
        "<dt>who</dt><dd>us</dd>",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing:\n{page}");
    }
    for wanted in [
        "# All of us",
        "Best: 1000 by `{{ who }}`.",
        "**The runs**",
        "| name | loss | steps |\n| --- | ---: | ---: |\n| a | 0.25 | 1000 |\n| b\\|c | NaN | – |",
        "* **FAILS** max(runs.steps) \\< 5 (max(runs.steps) = 1,234,567)",
        "As of: 2026-05-03T12:00:00Z",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
    assert_eq!(built(source, &[]).0, page);
}

#[test]
fn what_cannot_be_computed_says_so_and_the_rest_is_built() {
    let source = "# Head\n\n{{ nothing.there }}\n\n```sql name=wrong hide\nSELECT WRONG\n```\n```sql name=empty hide\nSELECT EMPTY\n```\n\
                  ```sql name=fine_empty empty=ok\nSELECT EMPTY\n```\n```sql name=fine\nSELECT 1\n```\n```check\nassert wrong.x < 1\n\
                  assert rows(fine) = 3\n```\n```vega-lite data=wrong\n{}\n```\n```vega-lite data=fine\n{\"mark\": \"bar\", \
                  \"encoding\": {\"x\": {\"field\": \"lss\"}}}\n```\n```vega-lite data=fine_empty\n{\"mark\": \"bar\"}\n```\n\
                  ```sql name=odd rows=many\nSELECT 1\n```\n![x](gone.png)\n";
    let (page, text, faults, _) = built(source, &[]);
    let of = |fault: &Fault| (fault.cell.clone(), fault.line);
    let wanted =
        [("wrong", 5), ("empty", 8), ("check_5", 18), ("chart_6", 21), ("chart_7", 24), ("odd", 30), ("", 3), ("", 0)];
    let wanted: Vec<_> = wanted.into_iter().map(|(cell, line)| (cell.to_owned(), line)).collect();
    assert_eq!(faults.iter().map(of).collect::<Vec<_>>(), wanted, "{faults:?}");
    for wanted in [
        "The cell wrong could not be computed.</strong> Line: 1: &lt;no&gt; such column",
        "the answer has no rows",
        "<div class=\"note\">No rows.</div>",
        "<td>d</td>",
        "<b>not computed</b> <code>wrong.x &lt; 1</code> <small>the cell wrong has no answer</small>",
        "<b>holds</b>",
        "no column lss in its data; there are: name, loss, steps",
        "There are no rows to draw.",
        "rows=many is no number",
        "8 parts of this report could not be computed.",
        "there is no cell nothing",
        "the file gone.png of the report cannot be read",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing:\n{page}");
    }
    assert!(text.contains("> **The cell wrong could not be computed.** Line: 1: \\<no\\> such column"), "{text}");
}

#[test]
fn without_anybody_to_answer_nothing_is_built() {
    let (_folder, report) = report("```sql name=x\nAWAY\n```\n");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let outcome = runtime.block_on(report.answer(&IndexMap::new(), &Lake::default(), |_| {}));
    assert_eq!(outcome.err(), Some(Error::Unanswered("nobody is there".to_owned())));
}

/// What has broken pages elsewhere.
const ATTACKS: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg/onload=alert(1)>",
    "'><iframe srcdoc='<script>alert(1)</script>'>",
    "</code></pre></td></table></main><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "[x](javascript:alert(1))",
    "![x](javascript:alert(1))",
    "![x](https://example.org/track.png)",
    "<style>*{background:url(https://example.org)}</style>",
    "<meta http-equiv=refresh content=0;url=https://example.org>",
    "<base href=https://example.org>",
    "<form action=https://example.org><button>x",
    "<!--><img src=x onerror=alert(1)>-->",
    "{{ who }} \u{e000}0\u{e001} \u{e002}0",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "a\nb\n\n# head\n\n| x |",
    "`x` ```\n```sql name=evil\nSELECT 1\n```",
];

/// Tags and attributes of a page. It fails where something is open that should not be.
fn tags(page: &str) -> Vec<String> {
    let mut rest = page;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, behind) = after.split_once('>').expect("a tag is closed");
        found.push(tag.to_owned());
        rest = behind;
    }
    found
}

const HARMLESS: &[&str] = &[
    "!doctype",
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "footer",
    "nav",
    "h1",
    "h2",
    "h3",
    "p",
    "ul",
    "li",
    "a",
    "dl",
    "div",
    "dt",
    "dd",
    "figure",
    "figcaption",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
    "strong",
    "em",
    "b",
    "code",
    "pre",
    "small",
    "img",
    "details",
    "summary",
    "hr",
    "br",
    "blockquote",
];

fn assert_harmless(page: &str, of: &str) {
    let page = page.replace(include_str!("style.css"), "");
    for tag in tags(&page) {
        let name =
            tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric() && c != '!').next().unwrap_or("");
        assert!(HARMLESS.contains(&name.to_ascii_lowercase().as_str()), "<{tag}> of {of}:\n{page}");
        let outside: String = tag.split('"').step_by(2).collect();
        assert!(!outside.contains(" on") && !outside.contains("srcdoc"), "<{tag}> of {of}");
        for value in tag.split('"').skip(1).step_by(2) {
            let value = value.trim().to_ascii_lowercase();
            assert!(!value.starts_with("javascript:") && !value.starts_with("vbscript:"), "<{tag}> of {of}");
        }
        if name == "img" {
            assert!(tag.contains("src=\"data:image/"), "<{tag}> of {of}");
        }
        if name == "meta" {
            assert!(!tag.contains("refresh"), "<{tag}> of {of}");
        }
    }
}

#[test]
fn nothing_that_is_shown_becomes_markup() {
    for attack in ATTACKS {
        // In a value that is bound, shown in the title, the text, a table, a caption's neighbourhood and the foot.
        let source = "+++\ntitle = \"{{ who }}\"\ndescription = \"{{ who }}\"\n[parameters.who]\n+++\n## {{ who }}\n\nText {{ who }} \
                      [link]({{ who }}) *{{ first(runs.name) }}*\n\n```sql name=runs source\nSELECT TEXT $who\n```\n\n\
                      ```check\nassert who = \"\"\nassert who < 1\n```\n\n| a |\n|---|\n| {{ who }} |\n";
        let (page, text, _, _) = built(source, &[("who", attack)]);
        assert_harmless(&page, attack);
        assert!(!page.contains("track.png\""), "{page}");
        assert!(!text.contains("\n# head") && !text.contains("\n```sql name=evil"), "{text}");
        // As the report's own text.
        let attack = &attack.replace("name=evil", "");
        let source = format!(
            "# Head\n\n{attack}\n\nand {attack} inline\n\n- {attack}\n\n## {attack}\n\n```\n{attack}\n```\n\n> {attack}\n"
        );
        let (_folder, own) = report(&source);
        assert_harmless(&own.build(IndexMap::new(), Answers::default(), Moment::default()).html(false), attack);
        // As a caption, an alternative text and a name.
        let caption = attack.replace(['"', '\n', '`'], "");
        let source = format!("```sql name=runs caption=\"{caption}\"\nSELECT 1\n```\n");
        assert_harmless(&built(&source, &[]).0, attack);
    }
}

#[test]
fn links_lead_somewhere_or_nowhere() {
    let source = "[a](https://example.org/x?y=1) [b](other.html#z) [c](mailto:a@b.c) [d](JaVaScRiPt:alert(1)) [e](data:text/html,x) \
                  [f](<java\tscript:alert(1)>) [g](vbscript:x) <https://example.org/auto> [h](../x:y) [i](#one)\n";
    let (page, _, _, _) = built(source, &[]);
    let links: Vec<&str> = page.split("<a href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let wanted = [
        "https://example.org/x?y=1",
        "other.html#z",
        "mailto:a@b.c",
        "#",
        "#",
        "#",
        "#",
        "https://example.org/auto",
        "../x:y",
        "#one",
    ];
    assert_eq!(links, wanted);
}

#[test]
fn pictures_of_the_folder_are_put_in_and_no_others() {
    let (folder, report) =
        report("![one](one.png) ![two](../two.png) ![three](link.png) ![four](x.txt) ![five](//example.org/x.png)\n");
    let outside = tempfile::tempdir().expect("a folder");
    std::fs::write(outside.path().join("secret.png"), "secret").expect("a file");
    std::fs::write(folder.path().join("one.png"), "picture").expect("a file");
    std::os::unix::fs::symlink(outside.path().join("secret.png"), folder.path().join("link.png")).expect("a link");
    let built = report.build(IndexMap::new(), Answers::default(), Moment::default());
    let page = built.html(false);
    assert!(page.contains("<img src=\"data:image/png;base64,cGljdHVyZQ==\" alt=\"one\""), "{page}");
    assert!(page.contains("link.png lies outside of the report&#39;s folder"), "{page}");
    assert!(page.contains("<a href=\"//example.org/x.png\">five</a>"), "{page}");
    assert_eq!(built.faults().len(), 3, "{:?}", built.faults());
    assert!(!page.contains("c2VjcmV0"));
}

#[test]
fn only_a_live_page_has_a_script() {
    let (_folder, report) = report("# x\n");
    let built =
        report.build(IndexMap::new(), Answers::default(), Moment { now: "now".to_owned(), ..Moment::default() });
    assert!(!built.html(false).contains("script"));
    let live = built.html(true);
    assert!(live.contains("<script src=\"live.js\"></script>") && live.contains("script-src 'self'"));
    assert!(live.contains("<dd>none was read</dd>") && live.contains("now from what was there then"));
}

#[cfg(feature = "charts")]
#[test]
fn charts_are_pictures_within_the_page() {
    let source = "# Charts\n\n```sql name=runs hide\nSELECT 1\n```\n```vega-lite data=runs name=bars caption=\"Bars\"\n{\"mark\": \"bar\", \"encoding\": \
                  {\"x\": {\"field\": \"name\"}, \"y\": {\"field\": \"loss\", \"type\": \"quantitative\"}}}\n```\n";
    let (page, text, faults, _) = built(source, &[]);
    assert_eq!(faults, []);
    assert!(page.contains("<img src=\"data:image/svg+xml;base64,") && page.contains("alt=\"Bars\""), "{page}");
    assert!(text.contains("![Bars](<files/bars.svg>)"), "{text}");
    assert_eq!(built(source, &[]).0, page);
}
