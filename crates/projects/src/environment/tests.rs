use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runlake_types::{Clock as _, SystemClock, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::cache::Key;
use super::*;
use crate::spec;

struct Silent;

impl Console for Silent {
    fn say(&self, _: &str) {}

    fn write(&self, _: Stream, _: &[u8]) {}
}

struct Bench {
    cache: Cache,
    cancel: Cancel,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { cache: Cache::at(folder.path().join("cache")), cancel: Cancel::default(), folder }
    }

    fn workshop(&self) -> Workshop<'_> {
        Workshop { cache: &self.cache, console: &Silent, cancel: &self.cancel, clock: &SystemClock }
    }

    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache.root().join("envs")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn key(part: &str) -> Key {
    let mut key = Key::new(Manager::Uv, "a test");
    key.add("part", part);
    key
}

#[test]
fn of_many_who_want_an_environment_one_makes_it() {
    let bench = Bench::new();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let held = bench.cache.ensure(&key("a"), &bench.workshop(), |directory, _| {
                    made.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(50));
                    fs::write(directory.join("x"), "1").map_err(Error::io("x"))
                });
                assert_eq!(fs::read_to_string(held.unwrap().directory.join("x")).unwrap(), "1");
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    bench.cache.ensure(&key("b"), &bench.workshop(), |_, _| Ok(())).unwrap();
    assert_eq!(bench.cache.list().unwrap().len(), 2);
}

#[test]
fn a_failed_attempt_leaves_its_log_and_nothing_else() {
    let bench = Bench::new();
    let attempt = || {
        bench.cache.ensure(&key("a"), &bench.workshop(), |directory, making| {
            fs::write(directory.join("half"), "").unwrap();
            let mut command = Command::new("bash");
            step(command.args(["-c", "echo no such package; exit 1"]), "packages", &bench.workshop(), making)
        })
    };
    let Err(Error::Environment { message, log: Some(log) }) = attempt() else { panic!("it fails") };
    assert!(message.contains("packages") && message.contains("  no such package"), "{message}");
    assert!(fs::read_to_string(&log).unwrap().contains("no such package"));
    let left = bench.left();
    let (name, _) = left[0].split_once('.').unwrap();
    assert_eq!(left, [format!("{name}.lock"), format!("{name}.log")]);
    // What a crash left is no environment either.
    let name = name.to_owned();
    fs::create_dir(bench.cache.root().join("envs").join(&name)).unwrap();
    assert!(bench.cache.list().unwrap().is_empty());
    assert_eq!(bench.cache.sweep(SystemClock.now()).unwrap(), [name]);
    assert_eq!(bench.left(), Vec::<String>::new());
    assert!(bench.cache.ensure(&key("a"), &bench.workshop(), |_, _| Ok(())).is_ok());
}

#[test]
fn nobody_removes_what_somebody_uses() {
    let bench = Bench::new();
    let held = bench.cache.ensure(&key("a"), &bench.workshop(), |_, _| Ok(())).unwrap();
    let listed = bench.cache.list().unwrap();
    assert!(listed[0].is_in_use && listed[0].summary == "a test");
    assert!(!bench.cache.remove(&listed[0].key).unwrap());
    drop(held);
    assert!(!bench.cache.list().unwrap()[0].is_in_use);
    assert!(bench.cache.remove(&listed[0].key).unwrap());
    assert!(bench.cache.list().unwrap().is_empty() && bench.left().is_empty());
}

fn project(bench: &Bench, files: &[(&str, &str)]) -> Project {
    for (name, text) in files {
        fs::write(bench.folder.path().join(name), text).unwrap();
    }
    spec::read(bench.folder.path()).unwrap()
}

#[test]
fn who_makes_what() {
    use Manager::{Conda, Docker, Local, Uv, Virtualenv};
    for (files, wanted, expected) in [
        (vec![], None, Some(Local)),
        (vec![], Some(Uv), Some(Uv)),
        (vec![("requirements.txt", "x")], None, Some(Uv)),
        (vec![("requirements.txt", "x")], Some(Virtualenv), Some(Virtualenv)),
        (vec![("requirements.txt", "x")], Some(Local), Some(Local)),
        (vec![("requirements.txt", "x")], Some(Conda), None),
        (vec![("requirements.txt", "x")], Some(Docker), None),
        (vec![("pyproject.toml", ""), ("uv.lock", "")], None, Some(Uv)),
        (vec![("pyproject.toml", ""), ("uv.lock", "")], Some(Virtualenv), None),
        (vec![("c.yaml", "dependencies: []"), ("MLproject", "conda_env: c.yaml")], None, Some(Conda)),
        (vec![("c.yaml", "dependencies: []"), ("MLproject", "conda_env: c.yaml")], Some(Uv), Some(Uv)),
        (vec![("MLproject", "docker_env: {image: i}")], None, Some(Docker)),
        (vec![("MLproject", "docker_env: {image: i}")], Some(Uv), None),
        (vec![("MLproject", "docker_env: {image: i}")], Some(Local), Some(Local)),
    ] {
        let bench = Bench::new();
        let made = manager_of(&project(&bench, &files), wanted);
        assert_eq!(made.as_ref().ok(), expected.as_ref(), "{files:?} {wanted:?}: {made:?}");
    }
    assert!("poetry".parse::<Manager>().unwrap_err().contains("virtualenv"));
}

fn name_of(env: &PythonEnv) -> String {
    let bench = Bench::new();
    let mut key = Key::new(Manager::Uv, "");
    env.identify(&mut key).unwrap();
    bench.cache.ensure(&key, &bench.workshop(), |_, _| Ok(())).unwrap();
    bench.cache.list().unwrap().remove(0).key
}

#[test]
fn the_same_contents_are_the_same_environment() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    fs::create_dir(folder.join("pkg")).unwrap();
    fs::write(folder.join("pkg/a.py"), "1").unwrap();
    let files = [
        (
            "python_env.yaml",
            "python: 3.10\nbuild_dependencies: [pip]\ndependencies:\n  - -r more.txt\n  - ./pkg\n  - a==1.0\n",
        ),
        ("more.txt", "b\n# comment\n-r again.txt\n"),
        ("again.txt", "c\n-r more.txt\n"),
    ];
    let _project = project(&bench, &files);
    let env = || requirements::of_python_env(&folder.join("python_env.yaml")).unwrap();
    assert_eq!(env().python.as_deref(), Some("3.10"));
    let first = name_of(&env());
    assert_eq!(first, name_of(&env()));
    for (file, text) in [("again.txt", "d"), ("pkg/a.py", "2"), ("python_env.yaml", "dependencies: [-r more.txt]\n")] {
        let before = name_of(&env());
        fs::write(folder.join(file), text).unwrap();
        assert_ne!(name_of(&env()), before, "{file}");
    }
    let lines = PythonEnv::lines(
        &["-r more.txt".to_owned(), "./pkg[x]".to_owned(), "a==1 # c".to_owned(), "-e git+https://h/r".to_owned()],
        folder,
    );
    let path = folder.display();
    assert_eq!(lines, format!("-r {path}/more.txt\n{path}/./pkg[x]\na==1 # c\n-e git+https://h/r\n"));
    fs::write(folder.join("python_env.yaml"), "dependencies: [-r gone.txt]").unwrap();
    assert!(env().identify(&mut Key::new(Manager::Uv, "")).unwrap_err().to_string().contains("gone.txt"));
}

#[test]
fn what_uv_can_make_of_a_conda_environment() {
    let bench = Bench::new();
    let file = bench.folder.path().join("conda.yaml");
    fs::write(
        &file,
        "dependencies:\n- python=3.11\n- conda-forge::numpy>=1\n- pip<=23\n- pip=22\n- pip: [mlflow, x==1]\n",
    )
    .unwrap();
    let mut warnings = Vec::new();
    let env = requirements::of_conda(&file, &mut |warning| warnings.push(warning.to_owned())).unwrap();
    assert_eq!(env.python.as_deref(), Some("3.11"));
    assert_eq!(
        (env.build, env.packages),
        (vec!["pip<=23".to_owned(), "pip==22".into()], vec!["mlflow".into(), "x==1".into()])
    );
    assert!(warnings[0].contains("numpy>=1"), "{warnings:?}");
}

#[test]
fn an_environment_without_its_python_is_made_anew() {
    let bench = Bench::new();
    let make = |directory: &Path, target: &str| {
        fs::create_dir_all(directory.join("env/bin")).unwrap();
        std::os::unix::fs::symlink(target, directory.join("env/bin/python")).map_err(Error::io("link"))
    };
    let made = |target: &str| bench.cache.ensure(&key("a"), &bench.workshop(), |directory, _| make(directory, target));
    let held = made("/no/such/python").unwrap_err();
    assert!(held.to_string().contains("/no/such/python"), "{held}");
    let python = bench.folder.path().join("python");
    fs::write(&python, "").unwrap();
    let path = |held: Held| held.directory.join("env/bin/python");
    assert!(path(made(python.to_str().unwrap()).unwrap()).exists());
    fs::remove_file(&python).unwrap();
    let held = made("/proc/self/exe").unwrap();
    assert!(path(held).exists());
}

#[test]
fn nobody_else_makes_what_a_killed_makers_programs_still_make() {
    let bench = Bench::new();
    let go = bench.folder.path().join("go");
    let lock = bench.cache.root().join("envs/x.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    // A maker that is gone without a word: its files are closed, and its programs go on.
    let maker = cache::lock_file(&lock, true, &bench.workshop()).unwrap();
    let mut program = Command::new("bash");
    program.args(["-c", "while [ ! -e \"$1\" ]; do sleep 0.01; done", "-"]).arg(&go).stdin(maker);
    let mut child = program.spawn().unwrap();
    drop(program);
    let is_free = || fs::File::open(&lock).unwrap().try_lock().is_ok();
    assert!(!is_free());
    fs::write(&go, "").unwrap();
    child.wait().unwrap();
    assert!(is_free());
    // What a maker's programs leave running keeps nobody out.
    let held = bench.cache.ensure(&key("a"), &bench.workshop(), |_, making| {
        let mut command = Command::new("bash");
        step(command.args(["-c", "sleep 600 >/dev/null 2>&1 & echo $!"]), "it", &bench.workshop(), making)
    });
    assert!(held.is_ok());
    let left = bench.left();
    let log = left.iter().find(|name| name.ends_with("log")).unwrap();
    let log = fs::read_to_string(bench.cache.root().join("envs").join(log)).unwrap();
    let left = Pid::from_raw(log.lines().last().unwrap().parse().unwrap()).unwrap();
    assert!(kill_process(left, Signal::KILL).is_ok());
}

#[test]
fn what_is_rendered_for_a_run_stays_as_long_as_it_goes_on() {
    let bench = Bench::new();
    let job = bench.cache.job("r").unwrap();
    let later = || Timestamp::from_micros(i64::MAX);
    bench.cache.sweep(later()).unwrap();
    assert!(job.path.is_dir());
    let path = job.path.clone();
    drop(job);
    bench.cache.sweep(SystemClock.now().earlier_by(Duration::from_hours(1))).unwrap();
    assert!(path.is_dir());
    bench.cache.sweep(later()).unwrap();
    assert!(!path.exists());
}
