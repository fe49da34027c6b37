use super::*;

fn trials(dimensions: &[&str], trials: Option<usize>) -> Result<Vec<Vec<(String, String)>>> {
    Sweep::new(dimensions.iter().map(|text| (*text).to_owned()).collect(), trials, 7)?.trials()
}

fn values(dimension: &str, count: Option<usize>) -> Vec<String> {
    trials(&[dimension], count).unwrap().into_iter().map(|mut trial| trial.remove(0).1).collect()
}

#[test]
fn a_grid_has_every_combination() {
    let all = trials(&["a=1,2", "b=x,y,z"], None).unwrap();
    let text: Vec<String> = all.iter().map(|trial| format!("{}{}", trial[0].1, trial[1].1)).collect();
    assert_eq!(text, ["1x", "1y", "1z", "2x", "2y", "2z"]);
    assert_eq!(values("n=1..4", None), ["1", "2", "3", "4"]);
    assert_eq!(values("n=0..1/3", None), ["0", "1"]);
    assert_eq!(values("f=float:0..1/3", None), ["0.0", "0.5", "1.0"]);
    assert_eq!(values("lr=log:1e-4..1e-1/4", None), ["0.0001", "0.001", "0.01", "0.1"]);
    assert_eq!(values("x=0.1234562..0.2/2", None), ["0.1234562", "0.2"]);
    assert_eq!(values("x=0.1..0.12345612/2", None), ["0.1", "0.123456"]);
    assert_eq!(values("n=log:1..1000/4", None), ["1", "10", "100", "1000"]);
}

#[test]
fn chance_stays_within_and_comes_again() {
    let seen = values("lr=log:1e-4..1e-1", Some(200));
    assert_eq!(seen, values("lr=log:1e-4..1e-1", Some(200)));
    let numbers: Vec<f64> = seen.iter().map(|value| value.parse().unwrap()).collect();
    assert!(numbers.iter().all(|number| (1e-4..=1e-1).contains(number)));
    // Each of the three powers has its third.
    for (low, high) in [(1e-4, 1e-3), (1e-3, 1e-2), (1e-2, 1e-1)] {
        let part = numbers.iter().filter(|number| (low..high).contains(*number)).count();
        assert!((40..95).contains(&part), "{part}");
    }
    let mut whole = values("n=1..3", Some(100));
    whole.sort();
    whole.dedup();
    assert_eq!(whole, ["1", "2", "3"]);
    let mut listed = values("k=a,b", Some(50));
    listed.sort();
    listed.dedup();
    assert_eq!(listed, ["a", "b"]);
    // A longer sweep begins like a shorter one.
    assert_eq!(values("x=0.0..1.0", Some(5)), values("x=0.0..1.0", Some(9))[..5]);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (dimension, count, part) in [
        ("lr", None, "there is no ="),
        ("=1,2", None, "no name"),
        ("a=1,,2", None, "empty"),
        ("a=2..1", None, "not below"),
        ("a=log:0..1", Some(1), "above zero"),
        ("a=x..y", Some(1), "no number"),
        ("a=log:3", None, "before a range"),
        ("a=0.0..1.0", None, "/5"),
        ("a=0..1/1", None, "from 2 to 1000"),
        ("a=1", Some(0), "one trial"),
        ("a=1..100000", None, "--trials"),
    ] {
        let error = trials(&[dimension], count).unwrap_err().to_string();
        assert!(error.contains(part), "{dimension}: {error}");
    }
    assert!(trials(&["a=1", "a=2"], None).unwrap_err().to_string().contains("twice"));
    assert!(trials(&["a=1..200", "b=1..200"], None).unwrap_err().to_string().contains("more than"));
}

#[test]
fn a_trials_value_takes_the_place_of_a_given_one() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let all = together(&[pair("a", "1"), pair("b", "2")], &[pair("a", "3")]);
    assert_eq!(all, [pair("b", "2"), pair("a", "3")]);
}
