//! Executor, bodies, sandbox, content cache.
