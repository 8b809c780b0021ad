//! Supervisor, deputies, placement at exec, trace.
