//! Vega and Vega-Lite in `QuickJS`: a script engine that has neither files, network, nor a clock of the machine's zone.
//!
//! It works on a thread with a stack of its own, within a memory and a time, and is thrown away afterwards.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Function, Promise, Runtime};

/// For all values of scripts, and so for all data of a chart.
const MEMORY_BYTES: usize = 1 << 30;
const STACK_BYTES: usize = 8 << 20;
/// Scripts may use so much of it.
const SCRIPT_STACK_BYTES: usize = 4 << 20;
/// For one chart.
const TIME: Duration = Duration::from_mins(1);
/// A picture larger than this is of no use to anybody.
const MOST_BYTES: usize = 16 << 20;

const PRELUDE: &str = include_str!("prelude.js");
const VEGA: &str = include_str!(concat!(env!("OUT_DIR"), "/vega.min.js"));
const VEGA_LITE: &str = include_str!(concat!(env!("OUT_DIR"), "/vega-lite.min.js"));
const DRAW: &str = include_str!("draw.js");

/// Draws specifications one after the other.
pub(super) fn draw(specs: Vec<String>) -> Vec<Result<String, String>> {
    let count = specs.len();
    let drawing =
        std::thread::Builder::new().name("charts".to_owned()).stack_size(STACK_BYTES).spawn(move || all(&specs));
    let failed = |told: String| (0..count).map(|_| Err(told.clone())).collect();
    match drawing.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(drawn))) => drawn,
        Ok(Ok(Err(error))) => failed(format!("the engine that draws charts cannot be started: {error}")),
        Ok(Err(_)) => failed("the engine that draws charts broke down: please report it".to_owned()),
        Err(error) => failed(format!("no thread can be started to draw charts: {error}")),
    }
}

fn all(specs: &[String]) -> Result<Vec<Result<String, String>>, String> {
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    runtime.set_memory_limit(MEMORY_BYTES);
    runtime.set_max_stack_size(SCRIPT_STACK_BYTES);
    let begun = Rc::new(Cell::new(Instant::now()));
    let is_late = {
        let begun = Rc::clone(&begun);
        move || begun.get().elapsed() > TIME
    };
    runtime.set_interrupt_handler(Some(Box::new(is_late.clone())));
    let context = Context::full(&runtime).map_err(|error| error.to_string())?;
    context.with(|scripts| {
        for script in [PRELUDE, VEGA, VEGA_LITE, DRAW] {
            scripts.eval::<(), _>(script).catch(&scripts).map_err(|error| told(&error))?;
        }
        let drawn = specs.iter().map(|spec| {
            begun.set(Instant::now());
            let late = format!("it was not drawn within {} seconds", TIME.as_secs());
            one(&scripts, spec).map_err(|error| if is_late() { late } else { error })
        });
        Ok(drawn.collect())
    })
}

fn one(scripts: &Ctx<'_>, spec: &str) -> Result<String, String> {
    let draw: Function = scripts.globals().get("draw").catch(scripts).map_err(|error| told(&error))?;
    let drawing: Promise = draw.call((spec,)).catch(scripts).map_err(|error| told(&error))?;
    let picture: String = drawing.finish().catch(scripts).map_err(|error| told(&error))?;
    if picture.len() > MOST_BYTES {
        return Err(format!(
            "its picture has {} MiB, more than any reader wants: ask for fewer rows",
            picture.len() >> 20
        ));
    }
    Ok(picture)
}

/// The message of an error without the place in a script.
fn told(error: &CaughtError<'_>) -> String {
    match error {
        CaughtError::Exception(exception) => exception.message().unwrap_or_else(|| "it cannot be drawn".to_owned()),
        other => other.to_string(),
    }
}
