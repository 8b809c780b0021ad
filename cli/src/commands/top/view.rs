//! How it looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, TableState};
use wire::local::NodeLine;

use super::state::{Focus, State};
use crate::commands::nodes::time;

/// Characters of a bar.
const BAR: usize = 10;

/// From this share on a bar is yellow, and from the whole on red.
const MUCH: f64 = 0.75;

const KEYS: &str =
    "↑↓ select  Tab nodes  m move  h home  l lock  u unlock  B bring all home  E send guests away  q quit";

pub(super) fn draw(frame: &mut Frame, state: &State) {
    let wanted = state.nodes.as_ref().map_or(1, |nodes| nodes.len().max(1)) as u16 + 3;
    let [nodes, processes, message, keys] = Layout::vertical([
        // Half at most: there are clusters of a thousand nodes.
        Constraint::Length(wanted.min(frame.area().height / 2)),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_nodes(frame, nodes, state);
    draw_processes(frame, processes, state);
    let style = if state.failed { Style::new().fg(Color::Red) } else { Style::new() };
    frame.render_widget(Paragraph::new(state.message.as_str()).style(style), message);
    frame.render_widget(Paragraph::new(KEYS).style(Style::new().add_modifier(Modifier::DIM)), keys);
}

fn block(title: &str, focused: bool) -> Block<'_> {
    let style = if focused { Style::new().fg(Color::Cyan) } else { Style::new() };
    Block::bordered().title(title).border_style(style)
}

fn draw_nodes(frame: &mut Frame, area: Rect, state: &State) {
    let focused = state.focus != Focus::Processes;
    let title = match state.focus {
        Focus::Destination(_) => " to which node? ",
        _ => " nodes ",
    };
    let nodes = match &state.nodes {
        Ok(nodes) => nodes,
        Err(why) => {
            let why = Paragraph::new(why.as_str()).block(block(title, focused));
            return frame.render_widget(why, area);
        }
    };
    let rows = nodes.iter().map(node);
    let widths = [
        Constraint::Max(24),
        Constraint::Length(BAR as u16 + 12),
        Constraint::Length(BAR as u16 + 14),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Min(6),
    ];
    let header = ["NAME", "LOAD OF CORES", "MEMORY GiB", "GUESTS", "SPEED", "RTT", "AGE", "STATE"];
    table(
        frame,
        area,
        rows,
        &widths,
        header,
        block(title, focused),
        state.selected_node().filter(|_| focused),
    );
}

fn node(node: &NodeLine) -> Row<'static> {
    let load = node.local + node.guests_runnable;
    let gib = |mib: u32| f64::from(mib) / 1024.0;
    let (total, free) = (gib(node.memory_total_mib), gib(node.memory_free_mib));
    let used = (total - free).max(0.0);
    let age = if node.address.is_none() { "here".to_owned() } else { time(node.age_s * 1e6) };
    Row::new([
        Cell::from(node.name.clone()),
        bar(load, node.cores, format!("{load:.1} of {:.0}", node.cores)),
        bar(used, total, format!("{used:.1} of {total:.1}")),
        Cell::from(format!("{:>6}", node.guests)),
        Cell::from(format!("{:>5.2}", node.speed)),
        Cell::from(node.rtt_us.map_or_else(|| "-".to_owned(), time)),
        Cell::from(age),
        Cell::from(node.closed.clone().unwrap_or_else(|| "open".to_owned())),
    ])
}

/// A share of a whole, drawn in eighths of a character, and in numbers.
fn bar(part: f64, whole: f64, text: String) -> Cell<'static> {
    let share = if whole > 0.0 { part / whole } else { 0.0 };
    let colour = match share {
        _ if share >= 1.0 => Color::Red,
        _ if share >= MUCH => Color::Yellow,
        _ => Color::Green,
    };
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let drawn = "█".repeat(eighths / 8);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let drawn = format!("{drawn}{rest}");
    let pad = " ".repeat(BAR - drawn.chars().count());
    Cell::from(Line::from(vec![Span::styled(drawn, colour), Span::raw(format!("{pad} {text}"))]))
}

fn draw_processes(frame: &mut Frame, area: Rect, state: &State) {
    let focused = state.focus == Focus::Processes;
    let rows = state.processes.iter().map(|process| {
        let away = process.place != "home";
        let place = Style::new().fg(if away { Color::Cyan } else { Color::Reset });
        Row::new([
            Cell::from(format!("{:>7}", process.pid)),
            Cell::from(process.state.to_string()),
            Cell::from(format!("{:>3}", process.threads)),
            Cell::from(process.place.clone()).style(place),
            Cell::from(format!("{:>8.1}", process.home_cpu_s)),
            Cell::from(format!("{:>8.1}", process.away_cpu_s)),
            Cell::from(
                state.calls_per_s(process.pid).map_or_else(String::new, |rate| format!("{rate:>7.0}")),
            ),
            Cell::from(format!("{:>5}", process.moves)),
            Cell::from(process.stay.clone().unwrap_or_else(|| "-".to_owned())),
            Cell::from(process.command.clone()),
        ])
    });
    let widths = [
        Constraint::Length(7),
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Max(16),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Max(30),
        Constraint::Min(10),
    ];
    let header = [
        "    PID",
        "S",
        "THR",
        "PLACE",
        "CPU HOME",
        "CPU AWAY",
        "CALLS/S",
        "MOVES",
        "STAYS BECAUSE",
        "COMMAND",
    ];
    // Also while its destination is chosen.
    let selected = state.selected_process().filter(|_| state.focus != Focus::Nodes);
    table(frame, area, rows, &widths, header, block(" processes ", focused), selected);
}

fn table<'a, const N: usize>(
    frame: &mut Frame,
    area: Rect,
    rows: impl Iterator<Item = Row<'a>>,
    widths: &[Constraint],
    header: [&'static str; N],
    block: Block<'_>,
    selected: Option<usize>,
) {
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
        .block(block)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use home::supervisor::ProcessLine;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::state::Snapshot;
    use super::super::state::tests::{node, process, state};
    use super::*;

    fn drawn(state: &State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(line).collect()
    }

    #[test]
    fn nodes_and_processes_are_on_the_screen() {
        let lines = drawn(&state(), 110, 20);
        assert!(lines[0].contains(" nodes ") && lines[1].contains("LOAD OF CORES"), "{lines:#?}");
        assert!(lines[2].contains("gamma") && lines[2].contains("here"), "this node first: {lines:#?}");
        assert!(lines[3].contains("alpha") && lines[3].contains("█████      4.0 of 8"), "{lines:#?}");
        assert!(lines[3].contains("███████▌   12.0 of 16.0") && lines[3].contains("140 µs"), "{lines:#?}");
        assert!(
            lines.iter().any(|line| line.contains("10") && line.contains("beta") && line.contains("work 10"))
        );
        assert!(lines[19].contains("q quit"));
    }

    #[test]
    fn a_process_has_its_cpu_time_by_place_its_calls_and_its_moves() {
        let mut state = State::default();
        let at = Instant::now();
        for (calls, seconds) in [(1000, 0), (1500, 2)] {
            let processes = vec![ProcessLine { calls, ..process(7, "beta") }];
            state.look(Snapshot { nodes: Ok(Vec::new()), processes, at: at + Duration::from_secs(seconds) });
        }
        let lines = drawn(&state, 120, 12);
        let line = lines.iter().find(|line| line.contains("work 7")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[4..9], ["beta", "0.5", "61.5", "250", "3"], "{lines:#?}");
    }

    #[test]
    fn without_a_daemon_it_says_why_and_shows_processes() {
        let mut state = State::default();
        let why = "no mosixd runs on this machine".to_owned();
        state.look(Snapshot { nodes: Err(why), processes: vec![process(7, "home")], at: Instant::now() });
        let lines = drawn(&state, 80, 12);
        assert!(lines[1].contains("no mosixd runs") && lines.iter().any(|line| line.contains("work 7")));
    }

    /// The selected line is seen, however many there are and however small the screen is.
    #[test]
    fn any_size_does() {
        let mut state = State::default();
        state.look(Snapshot {
            nodes: Ok((0..100).map(|n| node(&format!("n{n}"), n == 0)).collect()),
            processes: (1..=200).map(|pid| process(pid, "home")).collect(),
            at: Instant::now(),
        });
        state.press(KeyCode::End.into());
        assert!(drawn(&state, 100, 20).iter().any(|line| line.contains("work 200")));
        for (width, height) in [(1, 1), (10, 3), (40, 5), (300, 100)] {
            drawn(&state, width, height);
        }
    }
}
