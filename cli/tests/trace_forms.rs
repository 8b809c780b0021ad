//! Forms of a trace other than lines: JSON objects and a timeline.

mod support;

use std::collections::HashMap;
use std::fs;

use serde_json::Value;
use support::{Dir, MOSIX_RUN, shell};

fn trace(options: &str, command: &str) -> String {
    let dir = Dir::new();
    let out = dir.0.join("out");
    shell(&format!("{MOSIX_RUN} {options} --trace-syscalls -o {} {command}", out.display()));
    fs::read_to_string(&out).unwrap()
}

#[test]
fn objects_say_what_lines_say() {
    for (mode, place) in [("--home", "home"), ("--loopback", "forwarded")] {
        let text = trace(
            &format!("{mode} --format json"),
            "sh -c 'trap : USR1; kill -USR1 $$; cat /nonexistent; exit 3'",
        );
        let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |kind: &str| objects.iter().filter(|one| one["type"] == kind).collect::<Vec<_>>();
        let open = of("call").into_iter().rfind(|one| one["call"] == "openat" && one["ret"] == -2);
        let open =
            open.filter(|one| one["args"][1] == "\"/nonexistent\"").unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            (&open["args"][0], &open["errno"], &open["place"], &open["nr"]),
            (&"AT_FDCWD".into(), &"ENOENT".into(), &place.into(), &257.into())
        );
        assert!(open["duration_ns"].as_u64().unwrap() > 0);
        assert_eq!(open["wire"].is_object(), place == "forwarded", "{open}");
        if place == "forwarded" {
            let part = |name: &str| open["wire"][name].as_u64().unwrap();
            assert!(part("ns") > 0 && part("served_ns") > 0 && part("bytes") > "/nonexistent".len() as u64);
            assert!(part("ns") + part("served_ns") <= open["duration_ns"].as_u64().unwrap());
            let moves = of("moved");
            assert!(
                moves.iter().any(|one| one["to"] == "loopback" && one["bytes"].as_u64() > Some(0)),
                "{text}"
            );
        }
        assert_eq!(of("signal")[0]["signal"], "SIGUSR1");
        let statuses: Vec<_> = of("exited").iter().map(|one| one["status"].as_i64().unwrap()).collect();
        assert_eq!(statuses, [1, 3]);
        assert!(of("runs").iter().any(|one| one["program"] == "cat"));
        // Each call that does not return says so.
        let exits: Vec<_> = of("call").into_iter().filter(|one| one["call"] == "exit_group").collect();
        assert!(exits.len() == 2 && exits.iter().all(|one| one["ret"].is_null() && one["result"] == "?"));
        assert!(
            objects
                .windows(2)
                .all(|pair| pair[0]["time"].as_f64().unwrap() > 1.6e9 && pair[1]["pid"].is_u64())
        );
    }
}

/// Beginning, end, name.
type Slice = (f64, f64, String);

#[test]
fn slices_of_a_timeline_nest() {
    let text =
        trace("--loopback --format perfetto", "bash -c 'cat /etc/passwd | wc -l; (sleep 0.01 & wait)'");
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut tracks: HashMap<(i64, i64), Vec<Slice>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry["ph"] == "X") {
        let number = |name: &str| entry[name].as_f64().unwrap_or_else(|| panic!("{name}: {entry}"));
        let track = (entry["pid"].as_i64().unwrap(), entry["tid"].as_i64().unwrap());
        let name = entry["name"].as_str().unwrap().to_owned();
        tracks.entry(track).or_default().push((number("ts"), number("ts") + number("dur"), name));
    }
    assert!(tracks.len() >= 5, "{} tracks", tracks.len());
    for (track, mut slices) in tracks {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut open: Vec<(f64, String)> = Vec::new();
        for (from, to, name) in slices {
            // A thousandth of a nanosecond is lost in a double.
            while open.last().is_some_and(|(end, _)| *end <= from + 1e-3) {
                open.pop();
            }
            if let Some((end, outer)) = open.last() {
                assert!(
                    to <= end + 1e-3,
                    "{track:?}: {name} {from} {to} is not within {outer} that ends {end}"
                );
                assert!(matches!(name.as_str(), "wire" | "deputy"), "{name} in {outer}");
            }
            open.push((to, name));
        }
    }
    let has =
        |ph: &str, test: &dyn Fn(&Value) -> bool| entries.iter().any(|one| one["ph"] == ph && test(one));
    assert!(has("M", &|one| one["name"] == "process_name" && one["args"]["name"] == "wc"));
    assert!(has("b", &|one| one["name"] == "home → loopback") && has("e", &|one| one["cat"] == "move"));
    assert!(has("X", &|one| one["name"] == "wire"));
    assert!(has("X", &|one| one["name"] == "openat" && one["args"]["arguments"][0] == "AT_FDCWD"));
    assert!(has("i", &|one| one["name"] == "SIGCHLD"));
}
