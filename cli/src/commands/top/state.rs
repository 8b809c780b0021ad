//! What is on the screen, and what keys do to it. Without terminal, sockets and time.

use std::collections::HashMap;
use std::time::Instant;

use home::supervisor::ProcessLine;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use wire::local::{NodeLine, Owner};

/// What daemon and supervisors said.
pub(super) struct Snapshot {
    /// Or why there are none.
    pub(super) nodes: Result<Vec<NodeLine>, String>,
    pub(super) processes: Vec<ProcessLine>,
    /// When.
    pub(super) at: Instant,
}

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Migrate { pid: i32, to: String },
    Lock { pid: i32, locked: bool },
    Owner(Owner),
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::Migrate { pid, to } => write!(f, "move {pid} to {to}"),
            Action::Lock { pid, locked: true } => write!(f, "lock {pid}"),
            Action::Lock { pid, locked: false } => write!(f, "unlock {pid}"),
            Action::Owner(Owner::Bring) => f.write_str("bring all home"),
            Action::Owner(Owner::Expel) => f.write_str("send guests away"),
            Action::Owner(what) => write!(f, "{what:?}"),
        }
    }
}

/// What comes after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Go(Action),
    Quit,
}

/// Where arrows move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Processes,
    Nodes,
    /// Among the nodes, for this process to go to.
    Destination(i32),
}

/// The screen's contents. What is selected is known by its name and not by its line, which changes.
pub(super) struct State {
    pub(super) nodes: Result<Vec<NodeLine>, String>,
    pub(super) processes: Vec<ProcessLine>,
    pub(super) focus: Focus,
    pub(super) message: String,
    /// Whether the message tells of a failure.
    pub(super) failed: bool,
    node: Option<String>,
    pid: Option<i32>,
    /// Forwarded calls by process, and when.
    counted: Option<(Instant, HashMap<i32, u64>)>,
    /// What that came to in a second, of processes that were there before.
    calls_per_s: HashMap<i32, f64>,
}

impl Default for State {
    fn default() -> State {
        State {
            nodes: Ok(Vec::new()),
            processes: Vec::new(),
            focus: Focus::Processes,
            message: String::new(),
            failed: false,
            node: None,
            pid: None,
            counted: None,
            calls_per_s: HashMap::new(),
        }
    }
}

impl State {
    /// Takes what was seen: this node first, others by name; processes by pid.
    pub(super) fn look(&mut self, mut seen: Snapshot) {
        if let Ok(nodes) = &mut seen.nodes {
            nodes.sort_by(|a, b| (a.address.is_some(), &a.name).cmp(&(b.address.is_some(), &b.name)));
        }
        seen.processes.sort_by_key(|process| process.pid);
        self.count(&seen);
        let at = self.selected_process().unwrap_or(0);
        self.nodes = seen.nodes;
        self.processes = seen.processes;
        if self.selected_process().is_none() {
            // It has ended: the one that is now in its line.
            let at = at.min(self.processes.len().saturating_sub(1));
            self.pid = self.processes.get(at).map(|process| process.pid);
        }
        if self.selected_node().is_none() {
            self.node = self.names().first().cloned();
        }
        if let Focus::Destination(pid) = self.focus
            && !self.processes.iter().any(|process| process.pid == pid)
        {
            self.focus = Focus::Processes;
            self.say(format!("{pid} has ended"), true);
        }
    }

    fn count(&mut self, seen: &Snapshot) {
        let now: HashMap<i32, u64> = seen.processes.iter().map(|line| (line.pid, line.calls)).collect();
        if let Some((before, counted)) = self.counted.replace((seen.at, now)) {
            let seconds = seen.at.saturating_duration_since(before).as_secs_f64();
            let made = |line: &ProcessLine| Some(line.calls.saturating_sub(*counted.get(&line.pid)?));
            let rates =
                seen.processes.iter().filter_map(|line| Some((line.pid, made(line)? as f64 / seconds)));
            self.calls_per_s = rates.filter(|(_, rate)| rate.is_finite()).collect();
        }
    }

    /// Calls that were forwarded for a process in the last second, once it was seen twice.
    pub(super) fn calls_per_s(&self, pid: i32) -> Option<f64> {
        self.calls_per_s.get(&pid).copied()
    }

    /// Takes the end of what was asked for.
    pub(super) fn done(&mut self, action: &Action, result: Result<(), String>) {
        match result {
            Ok(()) => self.say(format!("done: {action}"), false),
            Err(why) => self.say(format!("cannot {action}: {why}"), true),
        }
    }

    /// The line of the selected process.
    pub(super) fn selected_process(&self) -> Option<usize> {
        self.processes.iter().position(|process| Some(process.pid) == self.pid)
    }

    /// The line of the selected node.
    pub(super) fn selected_node(&self) -> Option<usize> {
        self.names().iter().position(|name| Some(name) == self.node.as_ref())
    }

    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Next {
        let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match (key.code, self.focus) {
            _ if control_c => return Next::Quit,
            (KeyCode::Esc | KeyCode::Char('q'), Focus::Destination(_)) => {
                self.focus = Focus::Processes;
                self.say(String::new(), false);
            }
            (KeyCode::Esc | KeyCode::Char('q'), _) => return Next::Quit,
            (KeyCode::Tab, Focus::Processes) => self.focus = Focus::Nodes,
            (KeyCode::Tab, Focus::Nodes) => self.focus = Focus::Processes,
            (KeyCode::Up | KeyCode::Char('k'), _) => self.step(-1),
            (KeyCode::Down | KeyCode::Char('j'), _) => self.step(1),
            (KeyCode::PageUp, _) => self.step(-10),
            (KeyCode::PageDown, _) => self.step(10),
            (KeyCode::Home, _) => self.step(isize::MIN),
            (KeyCode::End, _) => self.step(isize::MAX),
            (KeyCode::Enter, Focus::Destination(pid)) => return self.send(pid),
            (_, Focus::Destination(_)) => {}
            (KeyCode::Char('B'), _) => return self.go(Action::Owner(Owner::Bring)),
            (KeyCode::Char('E'), _) => return self.go(Action::Owner(Owner::Expel)),
            (KeyCode::Char(letter), _) => return self.direct(letter),
            _ => {}
        }
        Next::Nothing
    }

    /// Keys that are about the selected process.
    fn direct(&mut self, letter: char) -> Next {
        let Some(pid) = self.selected_process().map(|at| self.processes[at].pid) else {
            return Next::Nothing;
        };
        match letter {
            'm' if self.names().is_empty() => {
                self.say("no nodes are known: `mosix migrate` takes a name".into(), true);
            }
            'm' => {
                self.focus = Focus::Destination(pid);
                self.say(format!("move {pid} to which node? (Enter, or Esc)"), false);
            }
            'h' => return self.go(Action::Migrate { pid, to: "home".into() }),
            'l' => return self.go(Action::Lock { pid, locked: true }),
            'u' => return self.go(Action::Lock { pid, locked: false }),
            _ => {}
        }
        Next::Nothing
    }

    fn send(&mut self, pid: i32) -> Next {
        self.focus = Focus::Processes;
        let node = self.selected_node().and_then(|at| Some(&self.nodes.as_ref().ok()?[at]));
        let Some(node) = node else { return Next::Nothing };
        // To its own users this machine is home.
        let to = if node.address.is_none() { "home".into() } else { node.name.clone() };
        self.go(Action::Migrate { pid, to })
    }

    fn go(&mut self, action: Action) -> Next {
        self.say(format!("{action} …"), false);
        Next::Go(action)
    }

    fn say(&mut self, message: String, failed: bool) {
        (self.message, self.failed) = (message, failed);
    }

    fn step(&mut self, lines: isize) {
        let go = |from: Option<usize>, count: usize| {
            from.unwrap_or(0).saturating_add_signed(lines).min(count.saturating_sub(1))
        };
        if self.focus == Focus::Processes {
            let to = go(self.selected_process(), self.processes.len());
            self.pid = self.processes.get(to).map(|process| process.pid);
        } else {
            let names = self.names();
            self.node = names.get(go(self.selected_node(), names.len())).cloned();
        }
    }

    fn names(&self) -> Vec<String> {
        self.nodes.iter().flatten().map(|node| node.name.clone()).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn node(name: &str, here: bool) -> NodeLine {
        NodeLine {
            name: name.into(),
            address: (!here).then(|| "10.0.0.2:7414".parse().unwrap()),
            age_s: 0.4,
            cores: 8.0,
            speed: 1.25,
            local: 1.0,
            guests_runnable: 3.0,
            guests: 3,
            memory_total_mib: 16_384,
            memory_free_mib: 4_096,
            rtt_us: (!here).then_some(140.0),
            closed: None,
            labels: Vec::new(),
        }
    }

    pub(crate) fn process(pid: i32, place: &str) -> ProcessLine {
        ProcessLine {
            pid,
            ppid: 1,
            state: 'R',
            threads: 2,
            place: place.into(),
            stay: None,
            home_cpu_s: 0.5,
            away_cpu_s: 61.5,
            calls: 1000,
            moves: 3,
            command: format!("work {pid}"),
        }
    }

    pub(crate) fn state() -> State {
        let mut state = State::default();
        state.look(Snapshot {
            nodes: Ok(vec![node("beta", false), node("gamma", true), node("alpha", false)]),
            processes: vec![process(30, "home"), process(10, "beta"), process(20, "home")],
            at: Instant::now(),
        });
        state
    }

    fn press(state: &mut State, codes: &[KeyCode]) -> Next {
        codes.iter().map(|code| state.press((*code).into())).last().unwrap()
    }

    #[test]
    fn a_process_is_sent_to_the_node_that_is_chosen() {
        use KeyCode::{Char, Down, Enter, Esc};
        let mut state = state();
        let next = press(&mut state, &[Down, Char('m'), Down, Enter]);
        assert_eq!(next, Next::Go(Action::Migrate { pid: 20, to: "alpha".into() }));
        assert_eq!((state.focus, state.message.as_str()), (Focus::Processes, "move 20 to alpha …"));
        // The first node is this machine.
        let next = press(&mut state, &[Char('m'), KeyCode::Home, Enter]);
        assert_eq!(next, Next::Go(Action::Migrate { pid: 20, to: "home".into() }));
        // Keys for processes mean nothing while a node is being chosen, and Esc only leaves the choice.
        assert_eq!(press(&mut state, &[Char('m'), Char('l'), Esc]), Next::Nothing);
        assert_eq!(press(&mut state, &[Char('h')]), Next::Go(Action::Migrate { pid: 20, to: "home".into() }));
        assert_eq!(press(&mut state, &[Char('u')]), Next::Go(Action::Lock { pid: 20, locked: false }));
        assert_eq!(press(&mut state, &[Char('B')]), Next::Go(Action::Owner(Owner::Bring)));
        assert_eq!(press(&mut state, &[Esc]), Next::Quit);
    }

    #[test]
    fn control_c_quits_everywhere() {
        let mut state = state();
        press(&mut state, &[KeyCode::Char('m')]);
        assert_eq!(state.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Next::Quit);
    }

    #[test]
    fn what_is_selected_stays_selected_while_lines_move() {
        let mut state = state();
        press(&mut state, &[KeyCode::Down]);
        let look = |pids: &[i32]| Snapshot {
            nodes: Err("gone".into()),
            processes: pids.iter().map(|pid| process(*pid, "home")).collect(),
            at: Instant::now(),
        };
        state.look(look(&[5, 10, 20, 30]));
        assert_eq!(state.selected_process(), Some(2));
        // It ends: the next takes its line, and at the end the last.
        state.look(look(&[5, 10, 30]));
        assert_eq!(state.selected_process(), Some(2));
        state.look(look(&[5]));
        assert_eq!(state.selected_process(), Some(0));
        press(&mut state, &[KeyCode::Up, KeyCode::PageDown, KeyCode::End, KeyCode::Home]);
        assert_eq!(state.selected_process(), Some(0));
        state.look(look(&[]));
        assert_eq!(press(&mut state, &[KeyCode::Down, KeyCode::Char('h')]), Next::Nothing);
    }

    #[test]
    fn a_destination_is_not_asked_for_what_has_ended() {
        let mut state = state();
        press(&mut state, &[KeyCode::Char('m')]);
        let processes = vec![process(20, "home")];
        state.look(Snapshot { nodes: Ok(vec![node("a", true)]), processes, at: Instant::now() });
        assert_eq!((state.focus, state.message.as_str()), (Focus::Processes, "10 has ended"));
    }
}
