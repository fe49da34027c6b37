use std::fs;

use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn project(text: &str) -> Result<Project> {
    read(folder(&[("MLproject", text), ("env.yaml", ""), ("c.yaml", "")]).path())
}

#[test]
fn everything_a_file_can_say() {
    let project = project(
        "name: All\npython_env: env.yaml\nentry_points:\n  main:\n    parameters:\n      data: path\n      \
         lr: {type: float, default: 0.10}\n      n: {type: int, default: 3}\n      url: {type: uri}\n      \
         note: {default: 'it''s'}\n    command: \"python t.py {data}\"\n  other: {command: run}\n",
    )
    .unwrap();
    assert_eq!(project.name.as_deref(), Some("All"));
    assert!(matches!(&project.needs, Needs::PythonEnv(path) if path.ends_with("env.yaml")));
    assert_eq!(project.warnings, Vec::<String>::new());
    let main = project.entry_point("main").unwrap();
    let kinds: Vec<(&str, Kind, Option<&str>)> = main
        .parameters
        .iter()
        .map(|(name, parameter)| (name.as_str(), parameter.kind, parameter.default.as_deref()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("data", Kind::Path, None),
            ("lr", Kind::Float, Some("0.1")),
            ("n", Kind::Int, Some("3")),
            ("url", Kind::Uri, None),
            ("note", Kind::String, Some("it's")),
        ]
    );
    assert_eq!(project.entry_point("other").unwrap().command, "run");
}

#[test]
fn a_docker_environment() {
    let text = "docker_env:\n  image: i:1\n  volumes: [/a:/b]\n  environment: [[A, 1], B]\n";
    let Needs::Docker(docker) = project(text).unwrap().needs else { panic!("docker") };
    assert_eq!((docker.image.as_str(), docker.volumes.len()), ("i:1", 1));
    assert_eq!(docker.environment, [("A".to_owned(), Some("1".to_owned())), ("B".to_owned(), None)]);
}

#[test]
fn faults_are_told_with_their_place() {
    for (text, place, part) in [
        ("name: [a", "line 2, column 1", "flow sequence"),
        ("name: x\nconda_env: c.yaml\npython_env: env.yaml\n", "line 3, column 13", "beside conda_env"),
        ("conda_env: gone.yaml\n", "line 1, column 12", "gone.yaml"),
        ("docker_env: {volumes: [a]}\n", "line 1", "no image"),
        ("docker_env:\n  image: i\n  environment: [[A]]\n", "line 3, column 17", "[NAME, value]"),
        ("entry_points: [a]\n", "line 1, column 15", "is to be a map"),
        ("entry_points:\n  main:\n    parameters: {}\n", "line 3", "no command"),
        ("entry_points:\n  main: {command: [a]}\n", "line 2, column 19", "is to be a text, and is a list"),
        ("- a\n", "line 1", "is to be a map"),
        ("", "line 1", "empty"),
    ] {
        let error = project(text).unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn what_means_nothing_is_told_and_passed_over() {
    let project =
        project("entrypoints: {}\nentry_points:\n  main: {command: c, parameters: {p: {type: weird}}}\n").unwrap();
    assert!(project.warnings[0].contains("entrypoints") && project.warnings[0].contains("line 1"));
    assert!(project.warnings[1].contains("weird"));
}

#[test]
fn unknown_entry_points_list_those_that_exist() {
    let project = project("entry_points: {train: {command: c}, eval: {command: c}}\n").unwrap();
    let error = project.entry_point("main").unwrap_err().to_string();
    assert!(error.contains("train, eval"), "{error}");
    let folder = folder(&[]);
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    std::fs::write(folder.path().join("inner/MLproject"), "").unwrap();
    let error = read(folder.path()).unwrap().entry_point("main").unwrap_err().to_string();
    assert!(error.contains("add #inner to the address"), "{error}");
}

#[test]
fn scripts_are_entry_points_if_they_lie_within() {
    let outside = folder(&[("evil.py", "")]);
    let folder = folder(&[("a b.py", ""), ("{x}.sh", "")]);
    std::os::unix::fs::symlink(outside.path().join("evil.py"), folder.path().join("link.py")).unwrap();
    let project = read(folder.path()).unwrap();
    assert_eq!(project.entry_point("a b.py").unwrap().command, "python 'a b.py'");
    assert!(project.entry_point("{x}.sh").unwrap().command.ends_with("'{{x}}.sh'"));
    assert!(project.entry_point("gone.py").unwrap_err().to_string().contains("gone.py"));
    for name in ["link.py", &format!("../{}/evil.py", outside.path().file_name().unwrap().display())] {
        assert!(project.entry_point(name).unwrap_err().to_string().contains("leads out"), "{name}");
    }
}

#[test]
fn files_say_what_is_needed_where_the_project_does_not() {
    for (files, needs) in [
        (vec![("pyproject.toml", ""), ("uv.lock", ""), ("requirements.txt", "")], "UvLock"),
        (vec![("pyproject.toml", "")], "Nothing"),
        (vec![("python_env.yaml", ""), ("conda.yaml", "")], "PythonEnv"),
        (vec![("conda.yaml", ""), ("requirements.txt", "")], "Conda"),
        (vec![("requirements.txt", ""), ("mlproject", "name: x")], "Requirements"),
    ] {
        let folder = folder(&files);
        let found = format!("{:?}", read(folder.path()).unwrap().needs);
        assert!(found.starts_with(needs), "{files:?}: {found}");
    }
}
