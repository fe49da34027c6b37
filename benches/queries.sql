-- Questions that people ask of a lake of runs, for runlake and for DuckDB over the same Parquet files.
-- A query begins at its name; {run}, {other} and {name} are filled in. What follows `-- duckdb` is for DuckDB alone,
-- where the two dialects differ.

-- name: best run of each experiment
SELECT DISTINCT ON (e.name) e.name, r.run_name, m.max
FROM latest_metrics m JOIN runs r USING (run_id) JOIN experiments e ON e.experiment_id = r.experiment_id
WHERE m.key = 'metric/1' ORDER BY e.name, m.max DESC, r.run_name

-- name: top 10 runs by a metric, with a param
SELECT r.run_id, p.value, m.value FROM latest_metrics m
JOIN runs r ON r.run_id = m.run_id JOIN params p ON p.run_id = r.run_id AND p.key = 'p7'
WHERE m.key = 'metric/2' AND r.lifecycle_stage = 'active' ORDER BY m.value DESC, r.run_id LIMIT 10

-- name: mean of each metric by a param
SELECT p.value AS optimizer, m.key, avg(m.value) AS mean, count(*) AS runs
FROM latest_metrics m JOIN params p ON p.run_id = m.run_id AND p.key = 'p0' GROUP BY 1, 2 ORDER BY 1, 2

-- name: correlation of params and metrics
SELECT p.key AS param, m.key AS metric, corr(CAST(p.value AS DOUBLE), m.value) AS r
FROM params p JOIN latest_metrics m ON m.run_id = p.run_id
WHERE p.key IN ('p5', 'p6', 'p7', 'p8', 'p9') GROUP BY 1, 2 ORDER BY 1, 2

-- name: params of runs side by side
SELECT run_id, max(CASE WHEN key = 'p0' THEN value END) AS p0, max(CASE WHEN key = 'p5' THEN value END) AS p5,
       max(CASE WHEN key = 'p9' THEN value END) AS p9
FROM params GROUP BY run_id ORDER BY p5, run_id LIMIT 100

-- name: what differs between two runs
SELECT coalesce(a.key, b.key) AS key, a.value AS one, b.value AS other
FROM (SELECT key, value FROM params WHERE run_id = '{run}') a
FULL JOIN (SELECT key, value FROM params WHERE run_id = '{other}') b ON a.key = b.key
WHERE a.value IS DISTINCT FROM b.value ORDER BY 1

-- name: runs with a tag, by experiment
SELECT e.name, count(*) AS runs FROM tags t JOIN runs r USING (run_id)
JOIN experiments e ON e.experiment_id = r.experiment_id
WHERE t.key = 't0' AND t.value LIKE 'team-1%' GROUP BY 1 ORDER BY 1

-- name: one curve
SELECT step, value FROM metrics WHERE run_id = '{run}' AND key = 'metric/3' ORDER BY step

-- name: one curve, smoothed
SELECT step, avg(value) OVER (ORDER BY step ROWS BETWEEN 50 PRECEDING AND CURRENT ROW) AS smooth
FROM metrics WHERE run_id = '{run}' AND key = 'metric/3' ORDER BY step

-- name: all curves of a run, in 100 buckets
SELECT key, step / 1000 AS bucket, min(value) AS low, avg(value) AS mean, max(value) AS high
FROM metrics WHERE run_id = '{run}' GROUP BY 1, 2 ORDER BY 1, 2
-- duckdb
SELECT key, step // 1000 AS bucket, min(value) AS low, avg(value) AS mean, max(value) AS high
FROM metrics WHERE run_id = '{run}' GROUP BY 1, 2 ORDER BY 1, 2

-- name: every point by metric
SELECT key, count(*) AS points, avg(value) AS mean, min(value) AS low, max(value) AS high FROM metrics GROUP BY key ORDER BY key

-- name: points of each run
SELECT run_id, count(*) AS points, max(step) AS last FROM metrics GROUP BY run_id ORDER BY run_id

-- name: points by minute
SELECT date_trunc('minute', timestamp) AS minute, count(*) AS points FROM metrics GROUP BY 1 ORDER BY 1
-- duckdb
-- Without a time zone, which it would look up for every row.
SELECT date_trunc('minute', make_timestamp(epoch_us(timestamp))) AS minute, count(*) AS points FROM metrics GROUP BY 1 ORDER BY 1

-- name: histogram of a metric
SELECT CAST(floor(value * 20) AS BIGINT) AS bucket, count(*) AS points FROM metrics WHERE key = 'metric/4' GROUP BY 1 ORDER BY 1

-- name: runs that came above a bound
SELECT key, count(DISTINCT run_id) AS runs FROM metrics WHERE value > 0.9999 GROUP BY key ORDER BY key

-- name: mean curve of a sweep
SELECT step, avg(value) AS mean, stddev(value) AS spread FROM metrics
WHERE experiment_id = '3' AND key = 'metric/0' GROUP BY step ORDER BY step

-- name: last three points of each run
SELECT run_id, step, value FROM metrics WHERE key = 'metric/5'
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY step DESC) <= 3 ORDER BY run_id, step

-- name: where each run was best
SELECT run_id, min(value) AS best, min(step) AS first FROM metrics m
WHERE key = 'metric/6' AND value = (SELECT min(min) FROM latest_metrics l WHERE l.run_id = m.run_id AND l.key = m.key)
GROUP BY run_id ORDER BY run_id

-- name: which model versions stand on a dataset
SELECT DISTINCT v.name, v.version FROM run_inputs i JOIN model_versions v ON v.run_id = i.run_id
WHERE i.dataset_name = '{name}' ORDER BY 1, 2

-- name: what the registry did, by model
SELECT name, action, count(*) AS events, min(time) AS first, max(time) AS last
FROM registry_events GROUP BY 1, 2 ORDER BY 1, 2
