//! Expected steps were recorded from MLflow 3.17's server.

use proptest::prelude::*;
use runlake_types::Timestamp;

use super::*;

fn series(steps: impl IntoIterator<Item = i64>) -> Vec<Point> {
    steps.into_iter().map(|step| point(step, 0, 1.0)).collect()
}

fn point(step: i64, micros: i64, value: f64) -> Point {
    Point { step, timestamp: Timestamp::from_micros(micros), value }
}

#[test]
fn ten_points_are_sampled_as_recorded() {
    let points = series(0..10);
    let all: Vec<i64> = (0..10).collect();
    let recorded: [(usize, &[i64]); 8] = [
        (1, &[9]),
        (2, &[0, 9]),
        (3, &[0, 4, 9]),
        (4, &[0, 3, 6, 9]),
        (5, &[0, 2, 4, 6, 9]),
        (9, &[0, 2, 3, 4, 5, 6, 7, 8, 9]),
        (10, &all),
        (11, &all),
    ];
    for (wanted, steps) in recorded {
        let taken: Vec<i64> = sample(&points, wanted).iter().map(|point| point.step).collect();
        assert_eq!(taken, steps, "{wanted}");
    }
}

#[test]
fn parts_of_uneven_length_are_sampled_as_recorded() {
    let points = series(0..25);
    let recorded: [(usize, &[i64]); 3] = [(1, &[24]), (4, &[0, 7, 13, 24]), (7, &[0, 4, 8, 12, 16, 19, 24])];
    for (wanted, steps) in recorded {
        let taken: Vec<i64> = sample(&points, wanted).iter().map(|point| point.step).collect();
        assert_eq!(taken, steps, "{wanted}");
    }
    let points = series(5..=15);
    assert_eq!(sample(&points, 4).iter().map(|point| point.step).collect::<Vec<_>>(), [5, 8, 11, 15]);
}

#[test]
fn points_of_one_step_are_sampled_as_recorded() {
    let points: Vec<Point> = (0..12).map(|micros| point(0, micros, 1.0)).collect();
    let recorded: [(usize, &[i64]); 3] = [(1, &[11]), (3, &[0, 4, 11]), (5, &[0, 3, 6, 8, 11])];
    for (wanted, times) in recorded {
        let taken: Vec<i64> = sample(&points, wanted).iter().map(|point| point.timestamp.micros()).collect();
        assert_eq!(taken, times, "{wanted}");
    }
}

#[test]
fn nan_stands_after_zero_as_recorded() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let mut points: Vec<Point> =
        [(-3, 1.0), (-1, 2.0), (0, nan), (0, 0.0), (0, -1.0), (0, 1.0), (4, inf), (4, -inf), (4, nan)]
            .into_iter()
            .map(|(step, value)| point(step, 5, value))
            .collect();
    points.sort_by(Point::file_order);
    let shown = |wanted| -> Vec<String> {
        sample(&points, wanted).iter().map(|point| format!("{}:{}", point.step, point.value)).collect()
    };
    assert_eq!(shown(1), ["4:inf"]);
    assert_eq!(shown(2), ["-3:1", "4:inf"]);
    assert_eq!(shown(3), ["-3:1", "0:0", "4:inf"]);
    assert_eq!(shown(4), ["-3:1", "0:0", "0:1", "4:inf"]);
    let all = ["-3:1", "-1:2", "0:-1", "0:0", "0:NaN", "0:1", "4:-inf", "4:NaN", "4:inf"];
    assert_eq!(shown(9), all);
    assert_eq!(shown(20), all);
}

proptest! {
    #[test]
    fn a_sample_is_small_ordered_and_ends_with_the_last(count in 0usize..300, wanted in 1usize..50) {
        let points = series(0..i64::try_from(count).expect("small"));
        let taken = sample(&points, wanted);
        prop_assert_eq!(taken.len(), count.min(wanted));
        prop_assert!(taken.windows(2).all(|pair| pair[0].step < pair[1].step));
        prop_assert_eq!(taken.last(), points.last());
    }
}
